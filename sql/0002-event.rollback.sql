DROP TABLE rowhook.event;
