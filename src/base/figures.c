/* base/figures: the table of what is counted, made from the one list in the header. */

#include "base/figures.h"

#include <stddef.h>

const struct figure_row figure_rows[] = {
#define FIGURES_ROW(name, unit, meaning) {#name, unit, meaning, offsetof(struct figures, name)},
    FIGURES(FIGURES_ROW)
#undef FIGURES_ROW
};

const unsigned figure_row_count = sizeof(figure_rows) / sizeof(figure_rows[0]);

void figures_add(struct figures *total, const struct figures *more)
{
#define FIGURES_ADD(name, unit, meaning) total->name += more->name;
    FIGURES(FIGURES_ADD)
#undef FIGURES_ADD
}
