DROP FUNCTION rowhook.cost(rowhook.capture, integer);
DROP FUNCTION rowhook.timed(text[]);
