"""The command line: one subject a file. What commands do is in the modules beside this package; here are options and output."""
