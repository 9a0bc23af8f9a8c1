#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/heap.h"
#include "core/mem.h"

enum { N = 100000 };

static struct heap_node nodes[N];

static void check(const struct heap *h)
{
	for (size_t i = 0; i < h->n; i++) {
		assert_int_equal(h->nodes[i]->at, i + 1);
		assert_true(h->nodes[i]->key >=
			    h->nodes[(i + 1) / 2 - !!i]->key);
	}
}

static void least_comes_first(void **state)
{
	struct heap h = {0};
	uint64_t last = 0;

	(void)state;
	assert_null(heap_first(&h));
	srand(1);
	for (size_t i = 0; i < 1000; i++)
		heap_put(&h, &nodes[i], (uint64_t)rand() % 100);
	check(&h);
	/* Moved both ways, and some taken out of the middle. */
	for (size_t i = 0; i < 1000; i += 3)
		heap_put(&h, &nodes[i], (uint64_t)rand() % 100);
	for (size_t i = 0; i < 1000; i += 7)
		heap_remove(&h, &nodes[i]);
	heap_remove(&h, &nodes[0]); /* not in it */
	check(&h);
	assert_int_equal(h.n, 1000 - 143);
	for (struct heap_node *first; (first = heap_first(&h));) {
		assert_true(first->key >= last);
		last = first->key;
		heap_remove(&h, first);
		assert_int_equal(first->at, 0);
	}
	heap_fini(&h);
}

/* A hundred thousand that wait and all go away: a list scanned for each would
 * take minutes. */
static void many_go_in_any_order(void **state)
{
	struct heap h = {0};

	(void)state;
	for (int order = 0; order < 3; order++) {
		for (size_t i = 0; i < N; i++)
			heap_put(&h, &nodes[i],
				 order == 2 ? (uint64_t)rand() : i);
		check(&h);
		for (size_t i = 0; i < N; i++)
			heap_remove(&h, &nodes[order ? N - 1 - i : i]);
		assert_int_equal(h.n, 0);
	}
	heap_fini(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(least_comes_first),
		cmocka_unit_test(many_go_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
