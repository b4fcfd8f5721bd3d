/* Options of the compatible names that there are, but not here. */
#ifndef LYRE_CMD_SYSTEM_REFUSED_H
#define LYRE_CMD_SYSTEM_REFUSED_H

/* Why an option (without dashes) is not there, for people; NULL: it is not known at all. */
const char *option_refusal(const char *name);

#endif
