#include "box/tree.h"

#include <dirent.h>
#include <stdio.h>

/* Each thread lists its children. */
static size_t add_children(pid_t pid, pid_t ret[TREE_MAX], size_t n)
{
	char path[64];
	struct dirent *task;
	DIR *dir;
	long child;

	snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
	dir = opendir(path);
	while (dir && (task = readdir(dir))) {
		char name[400];
		FILE *f;

		if (task->d_name[0] == '.')
			continue;
		snprintf(name, sizeof name, "%s/%s/children", path,
			 task->d_name);
		f = fopen(name, "re");
		while (f && n < TREE_MAX && fscanf(f, "%ld", &child) == 1)
			ret[n++] = (pid_t)child;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return n;
}

size_t tree_of(pid_t pid, pid_t ret[TREE_MAX])
{
	size_t n = 1;

	ret[0] = pid;
	for (size_t i = 0; i < n; i++)
		n = add_children(ret[i], ret, n);
	return n;
}
