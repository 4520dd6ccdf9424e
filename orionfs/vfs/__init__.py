"""What the kernel's calls do to open files, and where names, contents and what is under way meet."""
