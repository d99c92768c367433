"""The commands of ``anydepth``: modules with HELP, add_arguments(parser) and run(args)."""
