/* Who sits on a site's seat: restarts, copies, and programs that name no instance. Time is the test's. */
#include "tests/unit/test.h"
#include "tests/unit/world.h"

#include "server/engine/presence.h"

#define A "00000000-0000-4000-8000-00000000000a"
#define B "00000000-0000-4000-8000-00000000000b"
#define C "00000000-0000-4000-8000-00000000000c"

static struct test_world world;

static struct presence *begin(void)
{
	test_world_begin(&world, 1);
	return presence_new(&world.world);
}

/* So many seconds after the test began. */
static void it_is(int64_t seconds)
{
	world.steady = (1000 + seconds) * SECOND_US;
}

static struct arrival arrive(struct presence *presence, const char *instance, int64_t seconds)
{
	struct arrival arrival = { .site = "s", .instance = instance };

	it_is(seconds);
	assert_true(presence_claim(presence, &arrival));
	return arrival;
}

static enum standing standing(struct presence *presence, struct arrival arrival, int64_t seconds)
{
	it_is(seconds);
	return presence_standing(presence, "s", arrival.ticket);
}

static void the_newest_claim_of_one_process_counts(void **state)
{
	struct presence *presence = begin();
	struct arrival first = arrive(presence, A, 0), second = arrive(presence, A, 1);

	assert_true(first.is_new && !second.is_new && !first.is_rival && !second.is_rival);
	assert_false(
		second.wakes); /* else two copies of one running machine would end each other's polls without end */
	assert_int_equal(standing(presence, first, 1), STANDING_OVER);
	assert_int_equal(standing(presence, second, 1), STANDING_SEATED);
	presence_free(presence);
}

static void whoever_claims_again_lives_and_the_newer_is_refused(void **state)
{
	struct presence *presence = begin();
	struct arrival a = arrive(presence, A, 0), b = arrive(presence, B, 10);

	assert_true(b.is_rival && b.wakes && !b.is_new);
	assert_int_equal(standing(presence, a, 10), STANDING_OVER); /* its poll is ended: does it come again? */
	assert_int_equal(standing(presence, b, 14), STANDING_WAITING);
	a = arrive(presence, A, 14);
	assert_true(a.wakes && !a.is_rival);
	assert_int_equal(standing(presence, a, 14), STANDING_SEATED);
	assert_int_equal(standing(presence, b, 14), STANDING_REFUSED);
	assert_int_equal(standing(presence, b, 99), STANDING_REFUSED);
	b = arrive(presence, B, 20); /* it tries again, and the first one dies now */
	assert_true(b.is_rival);
	assert_int_equal(standing(presence, b, 24), STANDING_WAITING);
	assert_int_equal(standing(presence, b, 25), STANDING_OVER); /* it has won, and is to claim again */
	b = arrive(presence, B, 25);
	assert_false(b.is_rival);
	assert_int_equal(standing(presence, b, 25), STANDING_SEATED);
	presence_free(presence);
}

static void whoever_works_lives_without_a_claim(void **state)
{
	struct presence *presence = begin();
	struct arrival b;

	arrive(presence, A, 0);
	it_is(9);
	assert_false(presence_touch(presence, "s", "task"));
	b = arrive(presence, B, 10);
	it_is(14);
	assert_true(presence_touch(presence, "s", "task"));
	assert_int_equal(standing(presence, b, 14), STANDING_REFUSED);

	b = arrive(presence, B, 16); /* the last word was at 14: the next one would come until 20.5 */
	assert_int_equal(standing(presence, b, 20), STANDING_WAITING);
	assert_int_equal(standing(presence, b, 21), STANDING_OVER);
	presence_free(presence);
}

static void what_a_restarted_process_delivers_is_no_word_of_the_old_one(void **state)
{
	struct presence *presence = begin();
	json_t *holding = json_pack("[s]", "kept");
	struct arrival b = { .site = "s", .instance = B, .holding = holding };

	arrive(presence, A, 0);
	it_is(10);
	assert_true(presence_claim(presence, &b));
	it_is(12);
	assert_false(presence_touch(presence, "s", "kept"));
	assert_int_equal(standing(presence, b, 14), STANDING_WAITING);
	assert_int_equal(standing(presence, b, 15), STANDING_OVER);
	json_decref(holding);
	presence_free(presence);
}

static void count(void *context, const char *site)
{
	assert_string_equal(site, "s");
	++*(int *)context;
}

static void whoever_has_won_is_woken(void **state)
{
	struct presence *presence = begin();
	int woken = 0;

	arrive(presence, A, 0);
	arrive(presence, B, 10);
	it_is(14);
	presence_settle(presence, count, &woken);
	assert_int_equal(woken, 0);
	arrive(presence, B, 14); /* asking again does not make it wait longer */
	it_is(15);
	presence_settle(presence, count, &woken);
	assert_int_equal(woken, 1);
	presence_free(presence);
}

static void a_third_takes_the_rivals_place(void **state)
{
	struct presence *presence = begin();
	struct arrival b, c;

	arrive(presence, A, 0);
	b = arrive(presence, B, 10);
	c = arrive(presence, C, 12);
	assert_int_equal(standing(presence, b, 12), STANDING_OVER);
	assert_int_equal(standing(presence, c, 16), STANDING_WAITING);
	presence_free(presence);
}

static void a_program_that_names_no_instance_sits_where_it_claims(void **state)
{
	struct presence *presence = begin();
	struct arrival older = arrive(presence, NULL, 0), other = arrive(presence, NULL, 1), newer;

	assert_false(other.wakes || other.is_rival);
	assert_int_equal(standing(presence, older, 1), STANDING_OVER);
	newer = arrive(presence, A, 2); /* an update of the program */
	assert_false(newer.is_rival);
	assert_int_equal(standing(presence, newer, 2), STANDING_SEATED);
	presence_free(presence);
}

static void who_has_been_silent_or_said_farewell_has_no_seat_to_defend(void **state)
{
	struct presence *presence = begin();
	struct arrival b;

	arrive(presence, A, 0);
	b = arrive(presence, B, PRESENT_US / SECOND_US);
	assert_true(b.is_new && !b.is_rival);
	presence_forget(presence, "s");
	b = arrive(presence, C, PRESENT_US / SECOND_US + 1);
	assert_true(b.is_new && !b.is_rival);
	presence_free(presence);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_claim_of_one_process_counts),
		cmocka_unit_test(whoever_claims_again_lives_and_the_newer_is_refused),
		cmocka_unit_test(whoever_works_lives_without_a_claim),
		cmocka_unit_test(what_a_restarted_process_delivers_is_no_word_of_the_old_one),
		cmocka_unit_test(whoever_has_won_is_woken),
		cmocka_unit_test(a_third_takes_the_rivals_place),
		cmocka_unit_test(a_program_that_names_no_instance_sits_where_it_claims),
		cmocka_unit_test(who_has_been_silent_or_said_farewell_has_no_seat_to_defend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
