#include "tests/unit/server/story.h"

static const char *const two[] = { "a", "b", NULL };
static const char *const three[] = { "a", "b", "c", NULL };

static void two_rounds_from_an_uploaded_model(void **state)
{
	struct story s = begin("fedavg", "{'rounds': 2}", "M0", two);

	tell(&s, started());
	expect(&s, "{'do': 'model', 'round': 0, 'model': 'M0'}");
	expect(&s, "{'do': 'round', 'round': 1, 'model': 'M0'}");
	expect(&s, "{'do': 'task', 'kind': 'train', 'site': 'a', 'round': 1, 'files': {'model': 'M0'}}");
	expect(&s, "{'do': 'task', 'kind': 'train', 'site': 'b', 'round': 1, 'files': {'model': 'M0'}}");
	tell(&s, result("b", 1, "Ub", 1, NULL));
	tell(&s, result("a", 1, "Ua", 1, NULL));
	expect(&s, "{'do': 'timer_off', 'name': 'deadline'}");
	expect(&s, "{'do': 'timer_off', 'name': 'grace'}");
	expect(&s, "{'do': 'cancel', 'round': 1, 'reason': 'the round has closed without it'}");
	expect(&s, "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': 'weighted_mean'}");
	tell(&s, aggregated(1, "M1"));
	expect(&s, "{'do': 'model', 'round': 1, 'model': 'M1'}");
	expect(&s, "{'do': 'round', 'round': 2, 'model': 'M1'}");
	s.next += 2; /* its tasks */
	tell(&s, result("a", 2, "Ua", 1, NULL));
	tell(&s, result("b", 2, "Ub", 1, NULL));
	s.next += 4; /* it closes */
	tell(&s, aggregated(2, "M2"));
	expect(&s, "{'do': 'model', 'round': 2, 'model': 'M2'}");
	expect(&s, "{'do': 'task', 'kind': 'evaluate', 'site': 'a', 'round': 2, 'files': {'model': 'M2'}}");
	expect(&s, "{'do': 'task', 'kind': 'evaluate', 'site': 'b', 'round': 2, 'files': {'model': 'M2'}}");
	tell(&s, result("a", 2, NULL, 1, NULL));
	tell(&s, failed("b", 2)); /* an evaluation that fails does not fail what was trained */
	expect(&s, "{'do': 'timer_off', 'name': 'deadline'}");
	expect(&s, "{'do': 'cancel', 'round': 2, 'reason': 'the evaluation has closed'}");
	expect(&s, "{'do': 'complete'}");
	end(&s);
}

static void without_a_model_the_first_site_makes_one(void **state)
{
	struct story s = begin("fedavg", "{'rounds': 1}", NULL, two);

	tell(&s, started());
	expect(&s, "{'do': 'task', 'kind': 'initialize', 'site': 'a', 'round': 0}");
	tell(&s, result("a", 0, "M0", 1, NULL));
	expect(&s, "{'do': 'model', 'round': 0, 'model': 'M0'}");
	s.next += 3;
	end(&s);

	s = begin("fedavg", "{'rounds': 1}", NULL, two);
	tell(&s, started());
	s.next++;
	tell(&s, failed("a", 0));
	expect(&s, "{'do': 'fail', 'round': -1, 'text': 'a could not make the initial model: out of luck'}");
	end(&s);
}

/* Of Ditto's models: the mean is of the round that the sites' own are of. */
static void metrics_of_personal_models_belong_to_the_round(void **state)
{
	struct story s = begin("ditto", "{'rounds': 2}", "M0", two);
	json_auto_t *of_a = from_single_quotes("{'personal_acc': 0.5}");
	json_auto_t *of_b = from_single_quotes("{'personal_acc': 1.0}");

	tell(&s, started());
	s.next += 4;
	tell(&s, result("a", 1, "Ua", 1, of_a));
	expect(&s, "{'do': 'metric', 'round': 1, 'site': 'a', 'name': 'personal_acc', 'value': 0.5}");
	tell(&s, result("b", 1, "Ub", 1, of_b));
	expect(&s, "{'do': 'metric', 'round': 1, 'site': 'b', 'name': 'personal_acc', 'value': 1.0}");
	s.next += 3; /* it closes */
	expect(&s, "{'do': 'metric', 'round': 1, 'site': '', 'name': 'personal_acc', 'value': 0.75}");
	expect(&s, "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': 'weighted_mean'}");
	end(&s);
}

/* Means are over the sites in order of name, whatever the order of arrival; train_* belongs to the round itself. */
static void metrics_belong_to_the_model_they_measure(void **state)
{
	struct story s = begin("fedavg", "{'rounds': 3, 'key_metric': 'acc'}", "M0", two);
	json_auto_t *of_a = from_single_quotes("{'acc': 0.5, 'train_loss': 2, 'odd': null}");
	json_auto_t *of_b = from_single_quotes("{'acc': 0.9}");

	tell(&s, started());
	s.next += 4;
	tell(&s, result("b", 1, "Ub", 3, of_b));
	expect(&s, "{'do': 'metric', 'round': 0, 'site': 'b', 'name': 'acc', 'value': 0.9}");
	tell(&s, result("a", 1, "Ua", 1, of_a));
	expect(&s, "{'do': 'metric', 'round': 0, 'site': 'a', 'name': 'acc', 'value': 0.5}");
	expect(&s, "{'do': 'metric', 'round': 1, 'site': 'a', 'name': 'train_loss', 'value': 2.0}");
	expect(&s, "{'do': 'metric', 'round': 0, 'site': 'a', 'name': 'odd', 'value': null}");
	s.next += 3;
	expect(&s, "{'do': 'metric', 'round': 0, 'site': '', 'name': 'acc', 'value': 0.8}");
	expect(&s, "{'do': 'metric', 'round': 1, 'site': '', 'name': 'train_loss', 'value': 2.0}");
	expect(&s, "{'do': 'best', 'round': 0, 'model': 'M0'}");
	s.next++;
	end(&s);
}

static void it_stops_when_the_key_metric_does_not_improve(void **state)
{
	struct story s = begin("fedavg",
		"{'rounds': 9, 'key_metric': 'loss', 'key_metric_goal': 'min', 'early_stop_rounds': 2}", "M0",
		(const char *const[]){ "a", NULL });
	const double losses[] = { 3, 2, 2.5, 2.1 };
	bool stopped = false;

	tell(&s, started());
	for (int round = 1; round <= 4; round++) {
		json_auto_t *metrics = json_pack("{s:f}", "loss", losses[round - 1]);

		s.next = json_array_size(s.actions);
		tell(&s, result("a", round, "U", 1, metrics));
		stopped = !strcmp(json_text_or(json_array_get(s.actions, json_array_size(s.actions) - 1), "do", ""),
			"complete");
		assert_int_equal(stopped, round == 4);
		s.next = json_array_size(s.actions);
		if (!stopped)
			tell(&s, aggregated(round, "M"));
	}
	s.next = json_array_size(s.actions);
	end(&s);
}

static void a_quorum_closes_the_round_after_its_grace(void **state)
{
	struct story s = begin(
		"fedavg", "{'rounds': 1, 'quorum': 2, 'grace_seconds': 5, 'deadline_seconds': 60}", "M0", three);

	tell(&s, started());
	s.next += 5;
	expect(&s, "{'do': 'timer', 'name': 'deadline', 'after': 60.0}");
	tell(&s, result("c", 1, "Uc", 1, NULL));
	tell(&s, result("a", 1, "Ua", 1, NULL));
	expect(&s, "{'do': 'timer', 'name': 'grace', 'after': 5.0}");
	tell(&s, timer("grace"));
	s.next += 3;
	expect(&s, "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': 'weighted_mean'}");
	tell(&s, result("b", 1, "late", 1, NULL)); /* the engine refuses it before; the workflow does not mind */
	end(&s);
}

static void a_site_without_samples_counts_for_the_quorum_and_in_no_mean(void **state)
{
	struct story s = begin("fedavg", "{'rounds': 1}", "M0", two);
	json_auto_t *metrics = from_single_quotes("{'auc': 0.5}");

	tell(&s, started());
	s.next += 4;
	tell(&s, result("a", 1, "Ua", 0, metrics));
	expect(&s, "{'do': 'metric', 'round': 0, 'site': 'a', 'name': 'auc', 'value': 0.5}");
	tell(&s, result("b", 1, "Ub", 2, NULL));
	s.next += 3; /* no metric of the whole: nobody with samples told one */
	expect(&s, "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': 'weighted_mean'}");
	end(&s);

	s = begin("scaffold", "{'rounds': 1}", "M0", two); /* an algorithm hears of those with samples alone */
	tell(&s, started());
	s.next += 4;
	tell(&s, result("a", 1, "Ua", 0, NULL));
	tell(&s, result("b", 1, "Ub", 0, NULL));
	s.next += 3;
	expect(&s,
		"{'do': 'fail', 'round': -1, 'text': 'round 1: none of the 2 sites that answered had any samples'}");
	end(&s);
}

static void a_deadline_without_a_quorum_fails_the_job(void **state)
{
	struct story s = begin("fedavg", "{'quorum': 2, 'deadline_seconds': 60}", "M0", three);

	tell(&s, started());
	s.next += 6;
	tell(&s, result("c", 1, "Uc", 1, NULL));
	tell(&s, timer("deadline"));
	expect(&s, "{'do': 'fail', 'round': -1, 'text': 'round 1 reached its deadline with 1 updates; its quorum is "
		   "2'}");
	end(&s);
}

static void failures_are_tolerated_while_a_quorum_is_possible(void **state)
{
	struct story s = begin("fedavg", "{'quorum': 2}", "M0", three);

	tell(&s, started());
	s.next += 5;
	tell(&s, failed("a", 1));
	tell(&s, failed("b", 1));
	expect(&s,
		"{'do': 'fail', 'round': -1, 'text': 'round 1 cannot reach its quorum of 2: b failed: out of luck'}");
	end(&s);

	s = begin("fedavg", "{'quorum': 2, 'failure_policy': 'fail'}", "M0", three);
	tell(&s, started());
	s.next += 5;
	tell(&s, failed("a", 1));
	expect(&s, "{'do': 'fail', 'round': -1, 'text': 'a failed in round 1: out of luck'}");
	end(&s);
}

static struct event skipped(const char *site, int64_t round)
{
	struct event event = failed(site, round);

	event.is_skipped = true;
	event.reason = "skipped by ann";
	return event;
}

/* The quorum was all of them: without the skipped one it is all that are left. */
static void a_round_goes_on_without_whom_a_person_skips(void **state)
{
	struct story s = begin("fedavg", "{'failure_policy': 'fail'}", "M0", two);

	tell(&s, started());
	s.next += 4;
	tell(&s, result("a", 1, "Ua", 1, NULL));
	tell(&s, skipped("b", 1));
	s.next += 3; /* it closes */
	expect(&s, "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': 'weighted_mean', 'skipped': ['b']}");
	end(&s);

	s = begin("fedavg", "{}", "M0", two);
	tell(&s, started());
	s.next += 4;
	tell(&s, skipped("a", 1));
	tell(&s, skipped("b", 1));
	expect(&s, "{'do': 'fail', 'round': -1, 'text': 'round 1 has no site left: b was skipped by ann'}");
	end(&s);
}

/* What was trained stays; a job that only measures has nothing then. */
static void nobody_measures_the_model(void **state)
{
	struct story s = begin("fedavg", "{'rounds': 1}", "M0", two);

	tell(&s, started());
	s.next += 4;
	tell(&s, result("a", 1, "Ua", 1, NULL));
	tell(&s, result("b", 1, "Ub", 1, NULL));
	s.next += 4;
	tell(&s, aggregated(1, "M1"));
	s.next += 3;
	tell(&s, failed("a", 1));
	tell(&s, failed("b", 1));
	s.next += 2;
	expect(&s,
		"{'do': 'note', 'round': 1, 'text': 'no site could measure the last model; nobody knows how good it is'}");
	expect(&s, "{'do': 'complete'}");
	end(&s);

	s = begin("evaluate", "{}", "M0", two);
	tell(&s, started());
	s.next += 3;
	tell(&s, failed("a", 0));
	tell(&s, failed("b", 0));
	s.next += 2;
	expect(&s, "{'do': 'fail', 'round': -1, 'text': 'no site could measure the model'}");
	end(&s);
}

/* An aggregator hears of its own parameters and of no other's; what the job does not say has its default. */
static void an_aggregator_gets_its_own_parameters(void **state)
{
	static const struct {
		const char *params, *plan;
	} cases[] = {
		{ "{'aggregator': 'trimmed_mean', 'clip_norm': 3.0}", "'trimmed_mean', 'params': {'trim': 0.2}" },
		{ "{'aggregator': 'bulyan', 'byzantine': 2}", "'bulyan', 'params': {'byzantine': 2}" },
		{ "{'aggregator': 'norm_clipping', 'clip_norm': 3.0}",
			"'norm_clipping', 'params': {'clip_norm': 3.0}" },
		{ "{'aggregator': 'median', 'byzantine': 2}", "'median'" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct story s = begin("fedavg", cases[i].params, "M0", two);
		char wanted[200];

		tell(&s, started());
		s.next += 4;
		tell(&s, result("a", 1, "Ua", 1, NULL));
		tell(&s, result("b", 1, "Ub", 1, NULL));
		s.next += 3;
		snprintf(wanted, sizeof(wanted), "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': %s}",
			cases[i].plan);
		expect(&s, wanted);
		end(&s);
	}
}

static void parameters_that_do_not_go_together(void **state)
{
	json_auto_t *params = from_single_quotes("{'early_stop_rounds': 2, 'key_metric': ''}"),
		    *faults = json_array();

	workflow_find("fedavg")->check(params, faults);
	assert_string_equal(json_text_or(json_array_get(faults, 0), "field", ""), "params.early_stop_rounds");
	assert_null(workflow_find("nothing"));
}

static void a_choice_follows_from_seed_and_round(void **state)
{
	static const char *const items[] = { "a", "b", "c", "d", "e", "f", "g", "h" };
	int counts[8] = { 0 };

	for (uint64_t round = 0; round < 4000; round++) {
		json_auto_t *chosen = json_array(), *again = json_array();

		choose(items, 8, 3, 42, round, chosen);
		choose(items, 8, 3, 42, round, again);
		assert_int_equal(json_array_size(chosen), 3);
		assert_true(json_equal(chosen, again));
		for (size_t i = 0; i < 3; i++)
			counts[json_string_value(json_array_get(chosen, i))[0] - 'a']++;
	}
	for (int i = 0; i < 8; i++)
		assert_in_range(counts[i], 1380, 1620); /* 1500 expected; 4 standard deviations */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_rounds_from_an_uploaded_model),
		cmocka_unit_test(without_a_model_the_first_site_makes_one),
		cmocka_unit_test(metrics_belong_to_the_model_they_measure),
		cmocka_unit_test(metrics_of_personal_models_belong_to_the_round),
		cmocka_unit_test(it_stops_when_the_key_metric_does_not_improve),
		cmocka_unit_test(a_quorum_closes_the_round_after_its_grace),
		cmocka_unit_test(a_site_without_samples_counts_for_the_quorum_and_in_no_mean),
		cmocka_unit_test(a_deadline_without_a_quorum_fails_the_job),
		cmocka_unit_test(failures_are_tolerated_while_a_quorum_is_possible),
		cmocka_unit_test(a_round_goes_on_without_whom_a_person_skips),
		cmocka_unit_test(nobody_measures_the_model),
		cmocka_unit_test(an_aggregator_gets_its_own_parameters),
		cmocka_unit_test(parameters_that_do_not_go_together),
		cmocka_unit_test(a_choice_follows_from_seed_and_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
