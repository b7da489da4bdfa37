#ifndef GRAMD_BACKENDS_LOG_LEVEL_H
#define GRAMD_BACKENDS_LOG_LEVEL_H

/* How important a log line is. The daemon drops those below the level that it is set to. */
enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

#endif
