/* How a site comes in, renews its certificate, and is sent away. */
#include "server/auth/sites.h"

#include "common/fields.h"
#include "common/hex.h"
#include "common/uuid.h"
#include "server/auth/internal.h"
#include "server/store/identities.h"
#include "server/store/invitations.h"
#include "server/store/jobs.h"
#include "server/store/rounds.h"
#include "server/store/site_keys.h"

#include <stdio.h>

#define INVITATION_US (24 * 3600 * SECOND_US)

static int insert_invitation(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	return invitation_insert(tx, argument, error);
}

int auth_invite(struct auth *auth, const struct authority *authority, const char *by, struct invitation *invitation,
	struct rounds_error *error)
{
	char secret[65], hash[65];
	struct new_invitation row = { .id = invitation->id,
		.hash = hash,
		.site = invitation->site,
		.by = by,
		.replaces = invitation->replaces };

	if (!name_is_valid(invitation->site))
		return error_field(error, "site", "must be a name of 1 to 63 letters, digits, '.', '_' or '-'");
	hex_random(auth->world, 32, secret);
	uuid_new(auth->world, invitation->id);
	invitation->expires_us = row.expires_us = world_wall_us(auth->world) + INVITATION_US;
	snprintf(invitation->text, sizeof(invitation->text), "%s.%s", secret,
		authority->fingerprint + 7); /* without "sha256:" */
	auth_hash(invitation->text, hash);
	return store_write(auth->store, insert_invitation, &row, error);
}

struct joining {
	const char *hash, *serial;
	struct invited invited;
	int64_t expires_us;
};

static int find_invitation(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct joining *joining = argument;

	return invitation_find(tx, joining->hash, &joining->invited, error);
}

/* Each job that the site takes part in tells that another machine is behind its name from now on. */
static int tell_jobs(struct store_tx *tx, const char *site, struct rounds_error *error)
{
	const struct new_event event = { .kind = "note",
		.site = site,
		.round = -1,
		.message = "the site has joined anew: its former certificate is refused from now on" };
	json_auto_t *jobs = NULL;
	size_t i;
	json_t *job;

	if (job_list_at_site(tx, site, &jobs, error))
		return -1;
	json_array_foreach (jobs, i, job)
		if (event_add(tx, json_string_value(json_object_get(job, "job")), &event, error))
			return -1;
	return 0;
}

/* The invitation is used up and the site admitted together, or neither. Whoever joins says anew what its keys are. */
static int admit(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	struct joining *joining = argument;
	const struct new_site site = { joining->invited.site, joining->serial, joining->expires_us };

	if (invitation_use(tx, joining->hash, &joining->invited, error) || site_admit(tx, &site, error) ||
		site_keys_forget(tx, site.name, error))
		return -1;
	return joining->invited.replaces ? tell_jobs(tx, site.name, error) : 0;
}

int auth_join(struct auth *auth, const struct authority *authority, const char *invitation, const char *request_pem,
	struct admission *admission, struct rounds_error *error)
{
	struct certificate_facts facts;
	char hash[65];
	struct joining joining = { .hash = hash, .serial = facts.serial };

	auth_hash(invitation, hash);
	if (store_read(auth->store, find_invitation, &joining, error) ||
		authority_certify(
			authority, joining.invited.site, request_pem, &admission->certificate, &facts, error))
		return -1;
	joining.expires_us = facts.not_after_us;
	if (store_write(auth->store, admit, &joining, error))
		return -1;
	snprintf(admission->site, sizeof(admission->site), "%s", joining.invited.site);
	admission->replaced = joining.invited.replaces;
	return admission->replaced ? auth_revoked(auth, error) : auth_refresh(auth, error);
}

struct renewing {
	const char *with; /* serial of the certificate that asks */
	struct new_site site;
};

static int renew(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const struct renewing *renewing = argument;

	return site_renew(tx, &renewing->site, renewing->with, error);
}

int auth_site_renew(struct auth *auth, const struct authority *authority, const char *site, const char *with,
	const char *request_pem, struct admission *admission, struct rounds_error *error)
{
	struct certificate_facts facts;
	struct renewing renewing = { .with = with, .site = { .name = site, .serial = facts.serial } };

	if (authority_certify(authority, site, request_pem, &admission->certificate, &facts, error))
		return -1;
	renewing.site.expires_us = facts.not_after_us;
	snprintf(admission->site, sizeof(admission->site), "%s", site);
	return store_write(auth->store, renew, &renewing, error) || auth_refresh(auth, error) ? -1 : 0;
}

static int remove_site(struct store_tx *tx, void *argument, struct rounds_error *error)
{
	const char *name = argument;
	json_auto_t *site = NULL;

	return site_find(tx, name, &site, error) || site_set_state(tx, name, "removed", false, error) ||
			       invitation_void_all(tx, name, error)
		       ? -1
		       : 0;
}

int auth_site_remove(struct auth *auth, const char *name, struct rounds_error *error)
{
	return store_write(auth->store, remove_site, (void *)(uintptr_t)name, error) || auth_revoked(auth, error) ? -1
														  : 0;
}
