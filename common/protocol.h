/* The protocol between rounds-server and rounds-site: its versions. What each says is a table in server/engine/protocol.c. */
#ifndef ROUNDS_COMMON_PROTOCOL_H
#define ROUNDS_COMMON_PROTOCOL_H

#define PROTOCOL_OLDEST  1 /* that a server still answers */
#define PROTOCOL_VERSION 2 /* that a site speaks */

#endif
