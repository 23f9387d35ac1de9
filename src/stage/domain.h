#ifndef STAGE_DOMAIN_H
#define STAGE_DOMAIN_H

/*
 * Would COPY take it? One staged value, as the JSON that stands at the end of a block, against what
 * the column's type takes. What Redshift cannot hold but for its form is brought into that form;
 * the rest is refused here, since after StartedCommit a file that COPY refuses would be refused for
 * ever. Pure. Facts: Database Developer Guide, "COPY from JSON format", "Load error reference",
 * "Limitations" of SUPER.
 */

#include "base/buf.h"
#include "base/error.h"
#include "redshift/type.h"
#include "json/scan.h"

struct domain_facts {
    unsigned cut;  /* strings within a SUPER that COPY cuts at 65,535 bytes */
    bool replaced; /* U+0000 or half of a surrogate pair became U+FFFD */
};

/* The value is the text of out from start on. It may become shorter or another. The error says what
 * is wrong with the value, without it and without the column's name. */
struct error *domain_fit(const struct rs_domain *domain,
                         struct buf *out,
                         size_t start,
                         struct domain_facts *facts) MUST_CHECK;

/* The same question about a value for a SUPER column, wherever it stands, and nothing is changed:
 * *ret_as_is says whether the column takes it as it is. If so, it takes each of ret_parts as well,
 * with no string to cut unless facts counts one. */
struct error *domain_look(struct span json,
                          struct domain_facts *facts,
                          struct json_parts *ret_parts,
                          bool *ret_as_is) MUST_CHECK;

#endif
