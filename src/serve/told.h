/* told.h: what a replica's frames say, as text for people. A replica runs its
 * user's code: nothing of it is taken as it comes. */
#ifndef SERVE_TOLD_H
#define SERVE_TOLD_H

#include "core/str.h"

enum {
	TOLD_LOADING_MAX = 1024,
	TOLD_SAMPLE_MAX = 4096,
	TOLD_NOTE_MAX = 1024,
	TOLD_IMPORTS_MAX = 4096
};

/* LOADING's payload in one line of UTF-8, cut where it is long; free() it. */
char *told_loading(struct str payload);
/* FAILED's, {"message","remedy"}, in one paragraph; free() it. */
char *told_failed(struct str payload);
/* READY's {"sample"}, which people are shown in a command to paste: a JSON
 * object in one line, or NULL; free() it. */
char *told_sample(struct str payload);

/* READY's {"note"}, for people, in one line, cut where it is long; NULL: none;
 * free() it. */
char *told_note(struct str payload);

/* READY's {"imports"}, names of modules, as the JSON of a list; NULL: there are
 * none, or what is said is not that; free() it. */
char *told_imports(struct str payload);

#endif
