DROP TABLE rowhook.cursor;
DROP TABLE rowhook.instance;
