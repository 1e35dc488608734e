DROP FUNCTION rowhook.emit(text, json, text, text);
