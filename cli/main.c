#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"serve", "run the gateway in the foreground", cli_serve},
    {"check", "validate the configuration and print what was understood", cli_check},
    {"send", "send one message and print the relay's reply", cli_send},
    {"key", "make an API key", cli_key},
    {"version", "print the version", cli_version},
    {"help", "print this", cli_help},
};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void print_usage(FILE *out)
{
    fputs("usage: postern COMMAND [OPTIONS]\n\n", out);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
}

int cli_help(int argc, char **argv)
{
    print_usage(stdout);
    return EXIT_SUCCESS;
}

int cli_version(int argc, char **argv)
{
    puts("postern " POSTERN_VERSION);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (name[0] != '\0')
        fprintf(stderr, "postern: there is no command \"%s\"\n", name);
    print_usage(stderr);
    return EXIT_USAGE;
}
