/* completion.c: scripts for three shells, made from the table of commands. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/term.h"
#include "cli/usage.h"
#include "core/buf.h"
#include "core/mem.h"

enum { SCRIPT_BYTES_MAX = 1 << 20 };

/* Between single quotes, for any of the shells; what zsh's specs want escaped
 * has a backslash before it. fish is content with the same. */
static void add_quoted(struct buf *out, const char *text, const char *escape)
{
	for (; *text; text++) {
		if (*text == '\'') {
			buf_adds(out, "'\\''");
			continue;
		}
		if (strchr(escape, *text))
			buf_addc(out, '\\');
		buf_addc(out, *text);
	}
}

static void add_command_names(struct buf *out)
{
	const struct command *c;

	for (size_t i = 0; (c = command_at(i)); i++)
		buf_addf(out, "%s%s", i ? " " : "", c->name);
}

/* Flags that take a value, in every spelling, each once. A spelling takes one
 * in all commands or in none. */
static void add_value_flags(struct buf *out, const char *between)
{
	const struct command *c;
	const struct flag *f;
	struct buf seen;

	buf_init(&seen, SCRIPT_BYTES_MAX);
	for (size_t i = 0; (c = command_at(i)); i++) {
		for (size_t k = 0; (f = args_flag(c->flags, k)); k++) {
			cleanup_free char *mark = mem_printf(" %s ", f->name);

			if (!f->value || strstr(buf_cstr(&seen), mark))
				continue;
			buf_addf(out, "%s--%s", seen.len ? between : "",
				 f->name);
			if (f->letter)
				buf_addf(out, "%s-%c", between, f->letter);
			buf_adds(&seen, mark);
		}
	}
	buf_fini(&seen);
}

/* ---- bash ---- */

static const char bash_head[] =
	"# bash completion of soma, made by 'soma completion bash'.\n"
	"# In ~/.bashrc: source <(soma completion bash)\n"
	"\n"
	"_soma_words()\n"
	"{\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$1\" -- \"$cur\")\n"
	"}\n"
	"\n"
	"_soma_files()\n"
	"{\n"
	"\tcompopt -o filenames 2>/dev/null\n"
	"\tmapfile -t COMPREPLY < <(compgen \"$1\" -- \"$cur\")\n"
	"}\n"
	"\n"
	"# compgen expands its words, commands in them, too: names alone.\n"
	"_soma_apis()\n"
	"{\n"
	"\t_soma_words \"$(\"${COMP_WORDS[0]}\" get --quiet 2>/dev/null |\n"
	"\t\tgrep -x '[a-z0-9-]*')\"\n"
	"}\n"
	"\n"
	"_soma()\n"
	"{\n"
	"\tlocal cur=${COMP_WORDS[COMP_CWORD]} "
	"prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
	"\tlocal command='' n=0 skip='' i word\n"
	"\n"
	"\tCOMPREPLY=()\n"
	"\t# '=' is a word of its own: --output=json\n"
	"\tif [[ $cur == '=' ]]; then\n"
	"\t\tcur=''\n"
	"\telif [[ $prev == '=' ]]; then\n"
	"\t\tprev=${COMP_WORDS[COMP_CWORD - 2]}\n"
	"\tfi\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif [[ $word == '=' ]]; then\n"
	"\t\t\tskip=1\n"
	"\t\telif [[ $skip ]]; then\n"
	"\t\t\tskip=''\n"
	"\t\telse\n"
	"\t\t\tcase $word in\n";

static void bash_choose(struct buf *out, const struct usage *u)
{
	if (u->apis)
		buf_adds(out, "_soma_apis");
	else if (u->commands) {
		buf_adds(out, "_soma_words '");
		add_command_names(out);
		buf_adds(out, "'");
	} else if (*u->words)
		buf_addf(out, "_soma_words '%s'", u->words);
	else
		buf_addf(out, "_soma_files -%c", u->files ? 'f' : 'd');
	buf_adds(out, " ;;\n");
}

static void bash_flags(struct buf *out, const struct command *c)
{
	const struct flag *f;

	buf_addf(out, "\t\t%s) _soma_words '", c->name);
	for (size_t k = 0; (f = args_flag(c->flags, k)); k++)
		if (f->text)
			buf_addf(out, "%s--%s", k ? " " : "", f->name);
	buf_adds(out, "' ;;\n");
}

static void bash_values(struct buf *out, const struct command *c)
{
	const struct flag *f;
	struct usage u;

	for (size_t k = 0; (f = args_flag(c->flags, k)); k++) {
		if (!f->value || !usage_at(f->value, 0, &u))
			continue;
		buf_addf(out, "\t\t%s:--%s", c->name, f->name);
		if (f->letter)
			buf_addf(out, " | %s:-%c", c->name, f->letter);
		buf_adds(out, ") ");
		bash_choose(out, &u);
	}
}

static void bash(struct buf *out)
{
	const struct command *c;
	struct usage u;

	buf_adds(out, bash_head);
	buf_adds(out, "\t\t\t");
	add_value_flags(out, " | ");
	buf_adds(out, ") skip=1 ;;\n"
		      "\t\t\t-*) ;;\n"
		      "\t\t\t*)\n"
		      "\t\t\t\tif [[ $command ]]; then ((++n)); "
		      "else command=$word; fi\n"
		      "\t\t\t\t;;\n"
		      "\t\t\tesac\n"
		      "\t\tfi\n"
		      "\tdone\n"
		      "\tif [[ $skip ]]; then\n"
		      "\t\tcase $command:$prev in\n");
	for (size_t i = 0; (c = command_at(i)); i++)
		bash_values(out, c);
	buf_adds(out, "\t\tesac\n"
		      "\telif [[ $cur == -* ]]; then\n"
		      "\t\tcase $command in\n");
	for (size_t i = 0; (c = command_at(i)); i++)
		bash_flags(out, c);
	buf_adds(out, "\t\t'') _soma_words '--admin --help --version' ;;\n"
		      "\t\tesac\n"
		      "\telif [[ ! $command ]]; then\n"
		      "\t\t_soma_words '");
	add_command_names(out);
	buf_adds(out, "'\n"
		      "\telse\n"
		      "\t\tcase $command:$n in\n");
	for (size_t i = 0; (c = command_at(i)); i++) {
		for (size_t at = 0; at < c->max_words; at++) {
			if (!usage_at(c->words, at, &u))
				continue;
			buf_addf(out, "\t\t%s:%zu) ", c->name, at);
			bash_choose(out, &u);
		}
	}
	buf_adds(out, "\t\tesac\n"
		      "\tfi\n"
		      "}\n"
		      "\n"
		      "complete -F _soma soma\n");
}

/* ---- zsh ---- */

static void zsh_choose(struct buf *out, const struct usage *u)
{
	if (u->apis)
		buf_adds(out, "_soma_apis");
	else if (u->commands)
		buf_adds(out, "_soma_commands");
	else if (*u->words)
		buf_addf(out, "(%s)", u->words);
	else if (u->files || u->dirs)
		buf_adds(out, u->files ? "_files" : "_files -/");
}

static void zsh_flag(struct buf *out, const struct flag *f)
{
	/* "--name VALUE" and "--name=VALUE", "-n VALUE" and "-nVALUE" */
	const char *after_name = f->value ? "=" : "";
	const char *after_letter = f->value ? "+" : "";
	struct usage u;

	if (f->letter)
		buf_addf(out, " \\\n\t\t\t'(-%c --%s)'{-%c%s,--%s%s}'",
			 f->letter, f->name, f->letter, after_letter, f->name,
			 after_name);
	else
		buf_addf(out, " \\\n\t\t\t'--%s%s", f->name, after_name);
	buf_addc(out, '[');
	add_quoted(out, f->text, "[]:\\");
	buf_addc(out, ']');
	if (f->value) {
		buf_addc(out, ':');
		add_quoted(out, f->value, ":\\");
		buf_addc(out, ':');
		usage_at(f->value, 0, &u);
		zsh_choose(out, &u);
	}
	buf_addc(out, '\'');
}

static void zsh_command(struct buf *out, const struct command *c)
{
	const struct flag *f;
	struct usage u;

	buf_addf(out, "\t%s)\n\t\t_arguments", c->name);
	for (size_t k = 0; (f = args_flag(c->flags, k)); k++)
		if (f->text)
			zsh_flag(out, f);
	for (size_t at = 0; at < c->max_words; at++) {
		bool known = usage_at(c->words, at, &u);

		buf_addf(out, " \\\n\t\t\t'%zu:%s%s:", at + 1,
			 at < c->min_words ? "" : ":",
			 known ? "argument" : " ");
		zsh_choose(out, &u);
		buf_addc(out, '\'');
	}
	buf_adds(out, "\n\t\t;;\n");
}

static void zsh(struct buf *out)
{
	const struct command *c;

	buf_adds(out,
		 "#compdef soma\n"
		 "# zsh completion of soma, made by 'soma completion zsh'.\n"
		 "# As _soma in a folder of $fpath; or, after compinit,\n"
		 "# in ~/.zshrc: source <(soma completion zsh)\n"
		 "\n"
		 "_soma_apis() {\n"
		 "\tlocal -a apis\n"
		 "\tapis=(${(f)\"$(_call_program apis soma get --quiet "
		 "2>/dev/null)\"})\n"
		 "\t_describe -t apis api apis\n"
		 "}\n"
		 "\n"
		 "_soma_commands() {\n"
		 "\tlocal -a commands\n"
		 "\tcommands=(\n");
	for (size_t i = 0; (c = command_at(i)); i++) {
		buf_addf(out, "\t\t'%s:", c->name);
		add_quoted(out, c->summary, ":\\");
		buf_adds(out, "'\n");
	}
	buf_adds(out,
		 "\t)\n"
		 "\t_describe -t commands command commands\n"
		 "}\n"
		 "\n"
		 "_soma() {\n"
		 "\tlocal curcontext=$curcontext state line\n"
		 "\n"
		 "\t_arguments -C \\\n"
		 "\t\t'--admin=[the admin address of the daemon]:URL:' \\\n"
		 "\t\t'(- *)--version[show the version]' \\\n"
		 "\t\t'1: :_soma_commands' '*::argument:->argument'\n"
		 "\t[[ $state == argument ]] || return\n"
		 "\tcase $line[1] in\n");
	for (size_t i = 0; (c = command_at(i)); i++)
		zsh_command(out, c);
	buf_adds(out, "\tesac\n"
		      "}\n"
		      "\n"
		      "if [[ $funcstack[1] == _soma ]]; then\n"
		      "\t_soma \"$@\"\n"
		      "else\n"
		      "\tcompdef _soma soma\n"
		      "fi\n");
}

/* ---- fish ---- */

static void fish_choose(struct buf *out, const struct usage *u)
{
	if (u->apis)
		buf_adds(out, " -a '(soma get --quiet 2>/dev/null)'");
	if (u->commands) {
		buf_adds(out, " -a '");
		add_command_names(out);
		buf_adds(out, "'");
	}
	if (*u->words)
		buf_addf(out, " -a '%s'", u->words);
	if (u->files)
		buf_adds(out, " -F");
	else if (u->dirs)
		buf_adds(out, " -a '(__fish_complete_directories)'");
}

static void fish_flag(struct buf *out, const struct command *c,
		      const struct flag *f)
{
	struct usage u;

	buf_addf(out, "complete -c soma -n '__soma_in %s' -l %s", c->name,
		 f->name);
	if (f->letter)
		buf_addf(out, " -s %c", f->letter);
	if (f->value) {
		bool known = usage_at(f->value, 0, &u);

		buf_adds(out, known && u.files ? " -r" : " -x");
		if (known)
			fish_choose(out, &u);
	}
	buf_adds(out, " -d '");
	add_quoted(out, f->text, "\\");
	buf_adds(out, "'\n");
}

static void fish(struct buf *out)
{
	const struct command *c;
	const struct flag *f;
	struct usage u;

	buf_adds(out,
		 "# fish completion of soma, made by 'soma completion fish'.\n"
		 "# In ~/.config/fish/completions/soma.fish\n"
		 "\n"
		 "# What stands before the cursor, without flags and their "
		 "values.\n"
		 "function __soma_words\n"
		 "    set -l skip\n"
		 "    for token in (commandline -opc)[2..-1]\n"
		 "        if set -q skip[1]\n"
		 "            set skip\n"
		 "        else if contains -- $token ");
	add_value_flags(out, " ");
	buf_adds(out, "\n"
		      "            set skip 1\n"
		      "        else if not string match -q -- '-*' $token\n"
		      "            echo $token\n"
		      "        end\n"
		      "    end\n"
		      "end\n"
		      "\n"
		      "function __soma_in\n"
		      "    set -l words (__soma_words)\n"
		      "    set -q words[1]; and test $words[1] = $argv[1]\n"
		      "end\n"
		      "\n"
		      "function __soma_at\n"
		      "    __soma_in $argv[1]; and test (count (__soma_words)) "
		      "-eq $argv[2]\n"
		      "end\n"
		      "\n"
		      "function __soma_begins\n"
		      "    test (count (__soma_words)) -eq 0\n"
		      "end\n"
		      "\n"
		      "complete -c soma -f\n"
		      "complete -c soma -n __soma_begins -l version -d 'show "
		      "the version'\n");
	for (size_t i = 0; (c = command_at(i)); i++) {
		buf_addf(out, "complete -c soma -n __soma_begins -a %s -d '",
			 c->name);
		add_quoted(out, c->summary, "\\");
		buf_adds(out, "'\n");
	}
	for (size_t i = 0; (c = command_at(i)); i++) {
		for (size_t at = 0; at < c->max_words; at++) {
			if (!usage_at(c->words, at, &u))
				continue;
			buf_addf(out, "complete -c soma -n '__soma_at %s %zu'",
				 c->name, at + 1);
			fish_choose(out, &u);
			buf_addc(out, '\n');
		}
		for (size_t k = 0; (f = args_flag(c->flags, k)); k++)
			if (f->text)
				fish_flag(out, c, f);
	}
}

int cmd_completion(const struct args *a)
{
	static const struct {
		const char *name;
		void (*make)(struct buf *out);
	} shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
	const char *name = args_word(a, 0);
	struct buf out;

	for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
		if (strcmp(shells[i].name, name) != 0)
			continue;
		buf_init(&out, SCRIPT_BYTES_MAX);
		shells[i].make(&out);
		fwrite(out.data, 1, out.len, stdout);
		buf_fini(&out);
		return CLI_OK;
	}
	return term_fail(CLI_USAGE,
			 "there is completion for bash, zsh and fish, not for "
			 "'%s'",
			 name);
}
