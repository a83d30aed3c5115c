/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"

/* Returns whether two files are equal from their current positions to their ends. Moves both positions. */
static bool is_same(FILE *a, FILE *b)
{
	char from_a[4096], from_b[sizeof(from_a)];
	size_t n;

	do {
		n = fread(from_a, 1, sizeof(from_a), a);
		if (fread(from_b, 1, sizeof(from_b), b) != n || memcmp(from_a, from_b, n) != 0)
			return false;
	} while (n);
	return !ferror(a) && !ferror(b);
}

/* Returns whether the file at `path` already has the contents of `f`. */
static bool is_there(const char *path, FILE *f)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	CLEANUP(close_file) FILE *old = fd < 0 ? NULL : fdopen(fd, "r");

	if (!old && fd >= 0)
		close(fd);
	rewind(f);
	return old && is_same(old, f);
}

/* Writes the folder of a file to the disk, because the file's new name is stored in the folder. Returns 0 or a negative
 * errno. */
static int sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	CLEANUP(free_text) char *folder = NULL;

	if (asprintf(&folder, "%.*s.", slash ? (int)(slash - path) + 1 : 0, path) < 0) {
		folder = NULL;
		return -ENOMEM;
	}
	CLEANUP(close_fd) int fd = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Completes a replacement after `f` was written. Returns like atomic_file_replace(). */
static int finish(FILE *f, const char *temporary, const char *path, bool lasting)
{
	if (fflush(f) != 0 || ferror(f))
		return errno ? -errno : -EIO;
	if (lasting && is_there(path, f))
		return 0;
	if (lasting && fsync(fileno(f)) < 0)
		return -errno;
	if (rename(temporary, path) < 0)
		return -errno;
	int r = lasting ? sync_folder(path) : 0;
	return r < 0 ? r : 1;
}

int atomic_file_replace(const char *path, mode_t mode, bool lasting, atomic_file_write_fn write, void *userdata)
{
	CLEANUP(free_text) char *temporary = NULL;
	CLEANUP(close_file) FILE *f = NULL;

	if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	int fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = fchmod(fd, mode) < 0 ? -errno : 0;
	f = r < 0 ? NULL : fdopen(fd, "w+");
	if (!f) {
		r = r < 0 ? r : -errno;
		close(fd);
	}
	errno = 0;
	if (r == 0)
		r = write(f, userdata);
	if (r == 0)
		r = finish(f, temporary, path, lasting);
	if (r <= 0)
		unlink(temporary);
	return r;
}
