/*
 * What of this folder's SQL is SQLite's own, each under a name: all else is what PostgreSQL takes as well, but for the numbers of
 * parameters (?1, there $1), which are the driver's to write. charts.c is whole queries of SQLite's JSON functions, migrations.c
 * and db.c (PRAGMAs) are the driver's; another database has others in their place.
 */
#ifndef ROUNDS_SERVER_STORE_DIALECT_H
#define ROUNDS_SERVER_STORE_DIALECT_H

/* This index, or none, rather than what the planner would guess without statistics; elsewhere: nothing. */
#define BY_INDEX(name) " INDEXED BY " #name " "
#define BY_PRIMARY_KEY " NOT INDEXED "
/* The left table is the outer loop; elsewhere: JOIN. */
#define JOIN_IN_ORDER " CROSS JOIN "
/* A member of a column of JSON, as text; elsewhere: column ->> 'name'. */
#define JSON_MEMBER(column, name) "json_extract(" column ", '$." name "')"
/* The texts of a JSON array that is a parameter, as rows; elsewhere: jsonb_array_elements_text. */
#define JSON_TEXTS(parameter) "(SELECT value FROM json_each(" parameter "))"
/* Whether a text holds another; elsewhere: strpos(text, part) > 0. */
#define HOLDS_TEXT(text, part) "instr(" text ", " part ")"

#endif
