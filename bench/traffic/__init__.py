"""`shoal-bench traffic`: bytes on the wire for one update, beside what else there is.

command   the command
updates   what is saved: one small file, many, an edit, frequent appends
rivals    who carries it from one machine to another
session   all rivals in turns, each from nothing
figures   what was measured, what is expected of it, JSON of both
plot      the picture
"""
