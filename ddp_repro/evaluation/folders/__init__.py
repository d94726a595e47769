"""Prediction of many pictures and films: files, folders and globs into one folder whose manifest says what is done.

::

    FOLDER/predictions.jsonl          one line per picture that is done (of several for one picture, the last counts)
    FOLDER/SUBFOLDER/NAME_KIND.png    its maps; SUBFOLDER is the picture's own below the folder that was given
    FOLDER/FILM/000012_KIND.png       the maps of a film's frame, counted from 0
"""
