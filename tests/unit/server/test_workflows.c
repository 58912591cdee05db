/* Stories of the workflows beside FedAvg: what each does differently, and what it does when things go wrong. */
#include "tests/unit/server/story.h"

#include <math.h>

static const char *const two[] = { "a", "b", NULL };
static const char *const three[] = { "a", "b", "c", NULL };

static struct event initialized(const char *site, const char *model)
{
	struct event event = result(site, 0, model, 1, NULL);

	event.task = "initialize";
	return event;
}

static struct event trained(const char *site, int64_t round, const char *model)
{
	struct event event = result(site, round, model, 1, NULL);

	event.task = "train";
	return event;
}

static struct event lost(const char *site, int64_t round, const char *task)
{
	struct event event = failed(site, round);

	event.task = task;
	return event;
}

static struct event evaluated(const char *site, int64_t round, double weight, const json_t *metrics)
{
	struct event event = result(site, round, NULL, weight, metrics);

	event.task = "evaluate";
	return event;
}

static void the_model_goes_round_and_comes_home(void **state)
{
	struct story s = begin("cyclic", "{'rounds': 1}", "M0", two);
	json_auto_t *metrics = from_single_quotes("{'auc': 0.75}");

	tell(&s, started());
	expect(&s, "{'do': 'expect', 'rounds': 2}");
	expect(&s, "{'do': 'model', 'round': 0, 'model': 'M0'}");
	expect(&s, "{'do': 'round', 'round': 1, 'model': 'M0'}");
	expect(&s, "{'do': 'task', 'kind': 'train', 'site': 'a', 'round': 1, 'files': {'model': 'M0'}}");
	tell(&s, trained("a", 1, "U1"));
	expect(&s, "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': 'weighted_mean'}");
	tell(&s, aggregated(1, "M1"));
	expect(&s, "{'do': 'model', 'round': 1, 'model': 'M1'}");
	expect(&s, "{'do': 'round', 'round': 2, 'model': 'M1'}");
	expect(&s, "{'do': 'task', 'kind': 'train', 'site': 'b', 'round': 2, 'files': {'model': 'M1'}}");
	tell(&s, lost("b", 2, "train")); /* passed over */
	expect(&s, "{'do': 'task', 'kind': 'evaluate', 'site': 'a', 'round': 1, 'files': {'model': 'M1'}}");
	expect(&s, "{'do': 'task', 'kind': 'evaluate', 'site': 'b', 'round': 1, 'files': {'model': 'M1'}}");
	tell(&s, lost("b", 1, "evaluate"));
	tell(&s, evaluated("a", 1, 2, metrics));
	expect(&s, "{'do': 'metric', 'round': 1, 'site': 'a', 'name': 'auc', 'value': 0.75}");
	expect(&s, "{'do': 'metric', 'round': 1, 'site': '', 'name': 'auc', 'value': 0.75}");
	expect(&s, "{'do': 'complete'}");
	end(&s);

	s = begin("cyclic", "{'rounds': 1}", NULL, two);
	tell(&s, started());
	s.next++;
	expect(&s, "{'do': 'task', 'kind': 'initialize', 'site': 'a', 'round': 0}");
	tell(&s, initialized("a", "M0"));
	s.next += 3;
	tell(&s, lost("a", 1, "train"));
	s.next += 2;
	tell(&s, lost("b", 2, "train"));
	expect(&s, "{'do': 'fail', 'round': -1, 'text': 'no site could train the model'}");
	end(&s);
}

/* Tells it, and lets whatever it plans be. */
static void tell_all(struct story *story, struct event event)
{
	story->next = json_array_size(story->actions);
	tell(story, event);
	story->next = json_array_size(story->actions);
}

/* With a key metric every lap's model is measured at every site; a lap in which nobody trained is not measured again. */
static void the_best_lap_is_known(void **state)
{
	static const double auc[2][2] = { { 0.5, 1.0 }, { 0.5, 0.5 } };
	struct story s = begin("cyclic", "{'rounds': 3, 'key_metric': 'auc', 'evaluate_last': false}", "M0", two);

	tell(&s, started());
	for (int lap = 0; lap < 2; lap++) {
		tell_all(&s, trained("a", 2 * lap + 1, "U"));
		tell_all(&s, aggregated(2 * lap + 1, "M"));
		tell_all(&s, trained("b", 2 * lap + 2, "U"));
		tell_all(&s, aggregated(2 * lap + 2, lap ? "M4" : "M2"));
		for (int site = 0; site < 2; site++) {
			json_auto_t *metrics = json_pack("{s:f}", "auc", auc[lap][site]);

			tell_all(&s, evaluated(two[site], 2 * lap + 2, site ? 3 : 1, metrics));
		}
		s.next -= lap ? 3 : 4;
		expect(&s, lap ? "{'do': 'metric', 'round': 4, 'site': '', 'name': 'auc', 'value': 0.5}"
			       : "{'do': 'metric', 'round': 2, 'site': '', 'name': 'auc', 'value': 0.875}");
		if (lap == 0)
			expect(&s, "{'do': 'best', 'round': 2, 'model': 'M2'}");
		expect(&s, lap ? "{'do': 'round', 'round': 5, 'model': 'M4'}"
			       : "{'do': 'round', 'round': 3, 'model': 'M2'}");
		s.next++;
	}
	tell_all(&s, lost("a", 5, "train"));
	tell(&s, lost("b", 6, "train"));
	expect(&s, "{'do': 'complete'}");
	end(&s);
}

/* Every lap visits every site once, whatever the seed. */
static void a_random_order_is_a_permutation_of_every_lap(void **state)
{
	bool differs = false;

	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct story s = begin("cyclic", "{'rounds': 2, 'order': 'random'}", "M0", three);
		char visited[7] = "";

		s.job.seed = seed;
		tell(&s, started());
		for (int64_t visit = 1; visit <= 6; visit++) {
			const json_t *task = json_array_get(s.actions, json_array_size(s.actions) - 1);
			const char *site = json_text_or(task, "site", "");

			assert_int_equal(json_integer_or(task, "round", 0), visit);
			visited[visit - 1] = site[0];
			s.next = json_array_size(s.actions);
			tell(&s, trained(site, visit, "U"));
			s.next = json_array_size(s.actions);
			tell(&s, aggregated(visit, "M"));
		}
		for (int lap = 0; lap < 2; lap++)
			for (const char *site = "abc"; *site; site++)
				assert_non_null(memchr(visited + 3 * lap, *site, 3));
		differs = differs || strncmp(visited, "abcabc", 6) != 0;
		s.next = json_array_size(s.actions);
		end(&s);
	}
	assert_true(differs);
}

static void fedprox_tells_its_mu_and_scaffold_its_variate(void **state)
{
	struct story s = begin("fedprox", "{'rounds': 1, 'mu': 0.25}", "M0", two);
	json_auto_t *metrics = from_single_quotes("{'train_length': 0.5}");
	struct event ready;

	tell(&s, started());
	s.next += 2;
	expect(&s, "{'do': 'task', 'kind': 'train', 'site': 'a', 'round': 1, 'files': {'model': 'M0'}, "
		   "'algorithm': {'proximal_mu': 0.25}}");
	s.next++;
	end(&s);

	s = begin("scaffold", "{'rounds': 2}", "M0", two);
	tell(&s, started());
	s.next += 2;
	expect(&s, "{'do': 'task', 'kind': 'train', 'site': 'a', 'round': 1, 'files': {'model': 'M0'}, "
		   "'algorithm': {'control_variates': true}}");
	s.next++;
	tell(&s, result("a", 1, "Ua", 3, metrics));
	s.next++;
	tell(&s, result("b", 1, "Ub", 1, metrics));
	s.next += 5;
	expect(&s, "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': 'weighted_mean', "
		   "'step': {'name': 'scaffold', 'rate': 1.0, 'share': 1.0, 'lengths': {'a': 0.5, 'b': 0.5}, "
		   "'mean_only': ['*running_mean', '*running_var', '*num_batches_tracked']}}");
	ready = aggregated(1, NULL);
	ready.files = json_pack("{s:{s:s}, s:{s:s}}", "model", "digest", "M1", "state", "digest", "C1");
	tell(&s, ready);
	s.next += 2;
	expect(&s,
		"{'do': 'task', 'kind': 'train', 'site': 'a', 'round': 2, 'files': {'control': 'C1', 'model': 'M1'}, "
		"'algorithm': {'control_variates': true}}");
	s.next++;
	tell(&s, result("a", 2, "Ua", 1, NULL));
	tell(&s, result("b", 2, "Ub", 1, NULL));
	s.next += 3;
	expect(&s,
		"{'do': 'fail', 'round': -1, 'text': 'a did not report train_length (steps x learning rate): its executor "
		"does not do SCAFFOLD'}");
	end(&s);
}

static struct event without_samples(const char *site, int64_t round)
{
	struct event event = trained(site, round, "U");

	event.weight = 0;
	return event;
}

static void who_has_no_samples_is_passed_over(void **state)
{
	struct story s = begin("cyclic", "{'rounds': 1}", "M0", two);

	tell(&s, started());
	s.next += 4;
	tell(&s, without_samples("a", 1));
	expect(&s, "{'do': 'note', 'round': 1, 'text': 'a had no samples and is passed over'}");
	expect(&s, "{'do': 'round', 'round': 2, 'model': 'M0'}");
	expect(&s, "{'do': 'task', 'kind': 'train', 'site': 'b', 'round': 2, 'files': {'model': 'M0'}}");
	end(&s);

	s = begin("fedbuff", "{'rounds': 1, 'buffer': 1}", "M0", two);
	tell(&s, started());
	s.next += 4;
	tell(&s, without_samples("a", 1)); /* no change that could fill the buffer */
	tell(&s, without_samples("b", 1));
	expect(&s, "{'do': 'fail', 'round': -1, 'text': 'no site is left that can train and has samples'}");
	end(&s);
}

static void fedbuff_waits_for_nobody(void **state)
{
	struct story s = begin("fedbuff", "{'rounds': 2, 'buffer': 2}", "M0", three);

	tell(&s, started());
	s.next += 5;
	tell(&s, trained("b", 1, "Ub"));
	tell(&s, trained("c", 1, "Uc"));
	expect(&s, "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': 'combination', 'results': ["
		   "{'site': 'b', 'round': 1, 'weight': 0.5}, {'site': 'c', 'round': 1, 'weight': 0.5}]}");
	tell(&s, aggregated(1, "M1"));
	expect(&s, "{'do': 'model', 'round': 1, 'model': 'M1'}");
	expect(&s, "{'do': 'round', 'round': 2, 'model': 'M1'}");
	expect(&s, "{'do': 'task', 'kind': 'train', 'site': 'b', 'round': 2, 'files': {'model': 'M1'}}");
	expect(&s, "{'do': 'task', 'kind': 'train', 'site': 'c', 'round': 2, 'files': {'model': 'M1'}}");
	tell(&s, lost("b", 2, "train"));
	tell(&s, lost("c", 2, "train"));
	tell(&s, lost("a", 1, "train"));
	expect(&s, "{'do': 'fail', 'round': -1, 'text': 'no site is left that can train and has samples'}");
	end(&s);
}

/* Who still trains when the last version is made is called off, and measures it like all others. */
static void fedbuff_ends_with_a_look_at_its_last_version(void **state)
{
	struct story s = begin("fedbuff", "{'rounds': 1, 'buffer': 1}", "M0", two);
	json_auto_t *metrics = from_single_quotes("{'auc': 0.75}");

	tell(&s, started());
	s.next += 4;
	tell(&s, trained("b", 1, "Ub"));
	s.next++;
	tell(&s, aggregated(1, "M1"));
	expect(&s, "{'do': 'model', 'round': 1, 'model': 'M1'}");
	expect(&s, "{'do': 'cancel', 'round': 1, 'reason': 'the last version is made'}");
	expect(&s, "{'do': 'task', 'kind': 'evaluate', 'site': 'a', 'round': 1, 'files': {'model': 'M1'}}");
	expect(&s, "{'do': 'task', 'kind': 'evaluate', 'site': 'b', 'round': 1, 'files': {'model': 'M1'}}");
	tell(&s, evaluated("b", 1, 1, metrics));
	s.next++;
	tell(&s, lost("a", 1, "evaluate"));
	expect(&s, "{'do': 'metric', 'round': 1, 'site': '', 'name': 'auc', 'value': 0.75}");
	expect(&s, "{'do': 'complete'}");
	end(&s);
}

static void a_matrix_lacks_what_failed(void **state)
{
	struct story s = begin("cross_site_evaluation", "{}", "M0", two);
	json_auto_t *metrics = from_single_quotes("{'auc': 0.75}");
	struct event measured;

	tell(&s, started());
	s.next += 4;
	tell(&s, lost("a", 1, "train"));
	tell(&s, trained("b", 1, "Ub"));
	expect(&s, "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': 'weighted_mean'}");
	tell(&s, aggregated(1, "M1"));
	expect(&s, "{'do': 'task', 'kind': 'evaluate', 'site': 'a', 'round': 2, 'files': {'model': 'Ub'}}");
	expect(&s, "{'do': 'task', 'kind': 'evaluate', 'site': 'b', 'round': 2, 'files': {'model': 'Ub'}}");
	expect(&s, "{'do': 'task', 'kind': 'evaluate', 'site': 'a', 'round': 3, 'files': {'model': 'M1'}}");
	expect(&s, "{'do': 'task', 'kind': 'evaluate', 'site': 'b', 'round': 3, 'files': {'model': 'M1'}}");
	expect(&s, "{'do': 'model', 'round': 1, 'model': 'M1'}");
	measured = result("a", 2, NULL, 1, metrics);
	tell(&s, measured);
	expect(&s, "{'do': 'metric', 'round': 1, 'site': 'a', 'name': 'auc@b', 'value': 0.75}");
	tell(&s, lost("b", 2, "evaluate"));
	tell(&s, lost("b", 3, "evaluate"));
	measured.round = 3;
	tell(&s, measured);
	expect(&s, "{'do': 'metric', 'round': 1, 'site': 'a', 'name': 'auc@mean', 'value': 0.75}");
	expect(&s, "{'do': 'complete'}");
	end(&s);
}

/* A story that an older server began: its state, and what the tasks' rows hold of it. */
static struct story begin_older(const char *workflow, const char *params, const char *state)
{
	struct story story = begin(workflow, params, "M0", three);

	json_decref(story.state);
	story.state = from_single_quotes(state);
	state_renew(story.state);
	return story;
}

static void what_an_older_server_began_goes_on(void **state)
{
	struct story s = begin_older("fedavg", "{'rounds': 1, 'quorum': 2}",
		"{'phase': 'training', 'round': 1, 'model': 'M0', 'cohort': ['a', 'b', 'c'], 'lost': [], "
		"'results': {'a': {'weight': 3.0, 'metrics': {'auc': 0.5}, 'distance': 1.5}}}");
	json_auto_t *of_a = from_single_quotes("{'auc': 0.5}"), *of_b = from_single_quotes("{'auc': 0.9}");
	struct event told = result("a", 1, "Ua", 3, of_a);

	remember(&s, &told);
	drop(&told);
	tell(&s, lost("c", 1, "train"));
	tell(&s, result("b", 1, "Ub", 1, of_b));
	expect(&s, "{'do': 'metric', 'round': 0, 'site': 'b', 'name': 'auc', 'value': 0.9}");
	s.next += 3;
	expect(&s, "{'do': 'metric', 'round': 0, 'site': '', 'name': 'auc', 'value': 0.6}");
	expect(&s, "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': 'weighted_mean'}");
	end(&s);

	s = begin_older("cyclic", "{'rounds': 1}",
		"{'model': 'M3', 'round': 3, 'visit': 3, 'measured': 3, 'measuring': {'round': 3, 'model': 'M3', 'open': 1, "
		"'results': {'a': {'weight': 3.0, 'metrics': {'auc': 0.5}}}}}");
	told = evaluated("a", 3, 3, of_a);
	remember(&s, &told);
	tell(&s, evaluated("b", 3, 1, of_b));
	s.next++;
	expect(&s, "{'do': 'metric', 'round': 3, 'site': '', 'name': 'auc', 'value': 0.6}");
	expect(&s, "{'do': 'complete'}");
	end(&s);

	s = begin_older("cross_site_evaluation", "{}",
		"{'phase': 'training', 'initial': 'M0', 'left': 1, 'models': {'a': 'Ua', 'b': 'Ub'}}");
	told = trained("a", 1, "Ua");
	remember(&s, &told);
	drop(&told);
	tell(&s, lost("c", 1, "train"));
	expect(&s, "{'do': 'aggregate', 'round': 1, 'kind': 'train', 'method': 'weighted_mean'}");
	tell(&s, aggregated(1, "M1"));
	expect(&s, "{'do': 'task', 'kind': 'evaluate', 'site': 'a', 'round': 2, 'files': {'model': 'Ua'}}");
	s.next = json_array_size(s.actions);
	end(&s);
}

/* Sums over the sites are in order of name: the order of arrival does not show in the last bit. */
static void the_order_of_arrival_does_not_show(void **state)
{
	static const char *const orders[][3] = { { "a", "b", "c" }, { "c", "a", "b" }, { "b", "c", "a" } };
	static const char *const names[] = { "fednova", "qfedavg", "scaffold" };

	for (size_t name = 0; name < ARRAY_SIZE(names); name++) {
		json_auto_t *first = NULL;

		for (size_t order = 0; order < ARRAY_SIZE(orders); order++) {
			struct story s = begin(names[name], "{'rounds': 1}", "M0", three);

			tell_all(&s, started());
			for (size_t i = 0; i < 3; i++) {
				double odd = orders[order][i][0] / 3.0;
				json_auto_t *metrics = json_pack("{s:f, s:f, s:f}", "train_steps", odd,
					"train_loss_before", sqrt(odd), "train_length", odd);
				struct event event = trained(orders[order][i], 1, "U");

				event.weight = odd * odd;
				event.distance = 1 / odd;
				event.metrics = metrics;
				tell_all(&s, event);
			}
			json_t *plan = json_array_get(s.actions, s.next - 1);

			assert_string_equal(json_text_or(plan, "do", ""), "aggregate");
			if (!first)
				first = json_incref(plan);
			assert_true(json_equal(plan, first));
			end(&s);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_model_goes_round_and_comes_home),
		cmocka_unit_test(the_best_lap_is_known),
		cmocka_unit_test(a_random_order_is_a_permutation_of_every_lap),
		cmocka_unit_test(fedprox_tells_its_mu_and_scaffold_its_variate),
		cmocka_unit_test(who_has_no_samples_is_passed_over),
		cmocka_unit_test(fedbuff_waits_for_nobody),
		cmocka_unit_test(fedbuff_ends_with_a_look_at_its_last_version),
		cmocka_unit_test(a_matrix_lacks_what_failed),
		cmocka_unit_test(what_an_older_server_began_goes_on),
		cmocka_unit_test(the_order_of_arrival_does_not_show),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
