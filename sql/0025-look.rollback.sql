DROP FUNCTION rowhook.look(bigint, bigint, boolean, integer, bigint, integer, bigint, integer, bigint[], integer[]);
