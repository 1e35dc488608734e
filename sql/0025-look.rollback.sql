DROP FUNCTION rowhook.look(bigint, bigint, boolean, integer, integer, bigint, integer, bigint[], integer[]);
