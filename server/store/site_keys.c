#include "server/store/site_keys.h"

#include "server/store/db.h"

int site_keys_list(struct store_tx *tx, const char *site, json_t **statements, struct rounds_error *error)
{
	return db_rows(tx, error, statements,
		"SELECT generation, statement FROM site_keys WHERE site = ?1 ORDER BY generation", "s", site);
}

int site_keys_list_all(struct store_tx *tx, int64_t most, json_t **statements, struct rounds_error *error)
{
	return db_rows(tx, error, statements,
		"SELECT site, statement FROM site_keys AS keys JOIN site ON site.name = keys.site"
		" WHERE state <> 'removed' AND generation >"
		" (SELECT max(generation) FROM site_keys WHERE site = keys.site) - ?1 ORDER BY site, generation",
		"i", most);
}

int site_keys_add(
	struct store_tx *tx, const char *site, int64_t generation, const char *statement, struct rounds_error *error)
{
	return db_run(tx, error, "INSERT INTO site_keys(site, generation, statement, told_us) VALUES(?1, ?2, ?3, ?4)",
		"sisi", site, generation, statement, db_wall_us(tx));
}

int site_keys_forget(struct store_tx *tx, const char *site, struct rounds_error *error)
{
	return db_run(tx, error, "DELETE FROM site_keys WHERE site = ?1", "s", site);
}
