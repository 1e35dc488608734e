DROP FUNCTION rowhook.rule_problem(rowhook.rule);
DROP FUNCTION rowhook.unrule(text, regclass);
DROP FUNCTION rowhook.rule(text, regclass, text, text, text, text);
DROP FUNCTION rowhook.rule_plan(text, regclass, text, text, text, text);
DROP FUNCTION rowhook.check_rule(text, text);
DROP FUNCTION rowhook.check_predicate(regclass, text, text);
DROP FUNCTION rowhook.predicate_tree(regclass, text, text, boolean);
DROP FUNCTION rowhook.check_expression(text, text);
