/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Runs a fuzzer without libFuzzer, on the files of a folder and on mutations of them. The mutations are the same in
 * each run.
 *
 *     driver MUTATIONS FOLDER
 *
 * Prints TAP. If the mutations take longer than SECONDS_MAX, as under valgrind, the driver omits the rest. */

#include <dirent.h>
#include <string.h>

#include "base/util.h"
#include "fuzz.h"

/* Maximum number of files in the folder. */
#define SEEDS_MAX 256

/* Maximum size of an input, in bytes. */
#define SIZE_MAX_INPUT 16384

/* Maximum time for the mutations, in seconds. */
#define SECONDS_MAX 5

struct input {
	uint8_t bytes[SIZE_MAX_INPUT];
	size_t size;
};

static struct input seeds[SEEDS_MAX];
static size_t n_seeds;

/* Returns a pseudo-random number below `limit`, which is not 0 (Knuth's generator, MMIX). */
static size_t below(size_t limit)
{
	static uint64_t random = 1;

	random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (size_t)(random >> 33) % limit;
}

static void read_seed(const char *folder, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	CLEANUP(close_file) FILE *f = fopen(path, "rb");
	CHECK(f && n_seeds < SEEDS_MAX);
	struct input *seed = &seeds[n_seeds++];
	seed->size = fread(seed->bytes, 1, sizeof(seed->bytes), f);
	CHECK(!ferror(f) && feof(f));
}

static int is_seed(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Reads the files in an order that is the same on each machine. */
static void read_seeds(const char *folder)
{
	struct dirent **entries;
	int n = scandir(folder, &entries, is_seed, alphasort);

	CHECK(n > 0);
	for (int i = 0; i < n; i++) {
		read_seed(folder, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
}

/* Replaces `length` bytes at `at` by `n` other bytes. */
static void replace(struct input *input, size_t at, size_t length, const uint8_t *bytes, size_t n)
{
	if (input->size - length + n > sizeof(input->bytes))
		return;
	memmove(input->bytes + at + n, input->bytes + at + length, input->size - at - length);
	memcpy(input->bytes + at, bytes, n);
	input->size += n - length;
}

/* Makes one random change. */
static void mutate(struct input *input)
{
	static const uint8_t extremes[] = {0, 1, 2, 3, 4, 5, 6, 7, 127, 128, 254, 255};
	const struct input *other = &seeds[below(n_seeds)];
	size_t at = below(input->size + 1), length = below(input->size - at + 1), from = below(other->size + 1);

	switch (below(7)) {
	case 0: /* flip a bit */
		if (at < input->size)
			input->bytes[at] ^= (uint8_t)(1 << below(8));
		break;
	case 1: /* set a byte, such as a length or a type of element, to an extreme value */
		if (at < input->size)
			input->bytes[at] = extremes[below(sizeof(extremes))];
		break;
	case 2: /* change a byte, such as a length, a little */
		if (at < input->size)
			input->bytes[at] += (uint8_t)(below(9) - 4);
		break;
	case 3: /* cut the end off */
		input->size = at;
		break;
	case 4: /* remove a part */
		replace(input, at, length % 32, other->bytes, 0);
		break;
	case 5: /* replace the end by the end of another input */
		replace(input, at, input->size - at, other->bytes + from, other->size - from);
		break;
	default: /* insert a part of another input */
		replace(input, at, 0, other->bytes + from, below(other->size - from + 1));
	}
}

/* Runs the fuzzer on a copy of exactly the input's size, so that memory checkers detect reads behind it. */
static void run(const struct input *input)
{
	uint8_t *exact = malloc(input->size);

	CHECK(exact || !input->size);
	if (input->size)
		memcpy(exact, input->bytes, input->size);
	LLVMFuzzerTestOneInput(exact, input->size);
	free(exact);
}

int main(int argc, char **argv)
{
	static struct input input;
	unsigned long mutations, done = 0;

	CHECK(argc == 3);
	mutations = strtoul(argv[1], NULL, 10);
	printf("1..2\n");
	read_seeds(argv[2]);
	for (size_t i = 0; i < n_seeds; i++)
		run(&seeds[i]);
	printf("ok 1 - %zu inputs as they are\n", n_seeds);

	uint64_t deadline = now_usec() + SECONDS_MAX * USEC_PER_SEC;
	for (; done < mutations && now_usec() < deadline; done++) {
		input = seeds[below(n_seeds)];
		for (size_t n = 1 + below(4); n; n--)
			mutate(&input);
		run(&input);
	}
	printf("ok 2 - mutations of them\n# %lu of %lu\n", done, mutations);
	return 0;
}
