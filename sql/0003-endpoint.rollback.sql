DROP FUNCTION rowhook.pattern_candidates(text);
DROP TABLE rowhook.secret;
DROP TABLE rowhook.endpoint;
