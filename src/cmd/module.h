/* Parts of `lyre` that need libraries which the others do not, opened when they are called for
 * (docs/decisions/0006). */
#ifndef LYRE_CMD_MODULE_H
#define LYRE_CMD_MODULE_H

/* A function of the module NAME.so, which lies beside the program (in a build) or where it was installed; NULL,
 * with a message, when it cannot be had. `what` says what the module is for. */
void *module_function(const char *module, const char *what, const char *function);

#endif
