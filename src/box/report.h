/* report.h: what this machine allows the box to do. */
#ifndef BOX_REPORT_H
#define BOX_REPORT_H

#include <stdio.h>

/* Lines "name: yes|no (why)". Returns an exit status: 0. */
int box_report(FILE *out);

#endif
