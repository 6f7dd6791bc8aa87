"""Compose files: text in, typed values with the file and line of each out (docs/decisions/0034-compose-files.md).

`loading` reads files into a `Project`, in the long form that the Compose specification calls canonical; `convert` makes
of it what the Engine API takes. Nothing here opens a file or a connection: whoever asks gives `Files`. Every error is a
`ComposeError`, which names file, line, column and key.
"""
