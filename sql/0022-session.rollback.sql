DROP FUNCTION rowhook.looped(text, text, text, text);
DROP FUNCTION rowhook.loops(text, text, text, text);
DROP FUNCTION rowhook.loop_limit();
DROP TABLE rowhook.chain;
DROP FUNCTION rowhook.skips();
DROP FUNCTION rowhook.session_context();
