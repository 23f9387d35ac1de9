#ifndef BASE_LAST_WORDS_H
#define BASE_LAST_WORDS_H

/* One fatal line in the chosen format, made on the stack: for a process that cannot go on and may
 * have no memory. Cut at about a kilobyte. Private to base. */
void log_last_words(const char *text);

#endif
