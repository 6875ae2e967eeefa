#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/load.h"

/* `postern check`: exit 0 and what was understood, or 3 and everything that is wrong. */

const char cli_check_usage[] = "usage: postern check [--config FILE] [--reference | --services]\n";

static int usage(void)
{
    fputs(cli_check_usage, stderr);
    return EXIT_USAGE;
}

int cli_check(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"reference", no_argument, NULL, 'r'},
                                            {"services", no_argument, NULL, 's'},
                                            {0}};
    const char *path = NULL;
    for (int option; (option = getopt_long(argc, argv, "c:", options, NULL)) != -1;) {
        if (option == 'r') {
            config_print_reference(stdout);
            return EXIT_SUCCESS;
        }
        if (option == 's') {
            config_print_services(stdout);
            return EXIT_SUCCESS;
        }
        if (option != 'c')
            return usage();
        path = optarg;
    }
    if (optind < argc)
        return usage();
    CLEANUP(config_free) struct config *config = cli_load_config(path);
    if (config == NULL)
        return EXIT_CONFIG;
    config_print(config, stdout);
    return EXIT_SUCCESS;
}
