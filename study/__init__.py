"""Many runs, one picture; it reads finished runs' files and starts runs through the command line."""
