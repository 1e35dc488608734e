DROP TABLE rowhook.attempt;
DROP TABLE rowhook.delivery;
