/* What libzmq does in benches/zmtp.rs: its own server, and the clients of both servers.
 *
 *   pull PORT SECRET              a server; for each message of one byte it says how many came before
 *   push PORT SERVER PUBLIC SECRET SIZE
 *                                 for each number read it sends so many messages, and one of one byte
 *   come PORT SERVER PUBLIC SECRET
 *                                 for each number read it makes so many connections, some at once,
 *                                 and ends each
 *   stay PORT SERVER PUBLIC SECRET
 *                                 the same, but they stay
 *
 * Keys are in hexadecimal. It says "ready", and "done" after each number. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* So many connections are made at once. */
#define AT_ONCE 10

static void *context;
static char **words;

static void check(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "%s: %s\n", what, zmq_strerror(zmq_errno()));
        exit(1);
    }
}

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

static void set_key(void *socket, int option, const char *hex)
{
    unsigned char key[32];
    for (int i = 0; i < 32; i++) {
        unsigned byte;
        check(sscanf(hex + 2 * i, "%2x", &byte) == 1, "a key");
        key[i] = (unsigned char)byte;
    }
    check(zmq_setsockopt(socket, option, key, sizeof key) == 0, "a key");
}

static void set_number(void *socket, int option, int value)
{
    check(zmq_setsockopt(socket, option, &value, sizeof value) == 0, "an option");
}

static const char *endpoint(void)
{
    static char text[64];
    snprintf(text, sizeof text, "tcp://127.0.0.1:%s", words[2]);
    return text;
}

static void pull(void)
{
    void *socket = zmq_socket(context, ZMQ_PULL);
    set_number(socket, ZMQ_CURVE_SERVER, 1);
    set_key(socket, ZMQ_CURVE_SECRETKEY, words[3]);
    check(zmq_bind(socket, endpoint()) == 0, "bind");
    say("ready");
    zmq_msg_t message;
    zmq_msg_init(&message);
    for (long came = 0;; came++) {
        check(zmq_msg_recv(&message, socket, 0) >= 0, "receive");
        if (zmq_msg_size(&message) == 1) {
            printf("%ld\n", came);
            fflush(stdout);
            came = -1;
        }
    }
}

/* A socket whose messages wait until its handshake is done. */
static void *to_server(void)
{
    void *socket = zmq_socket(context, ZMQ_PUSH);
    check(socket != NULL, "socket");
    set_number(socket, ZMQ_IMMEDIATE, 1);
    set_number(socket, ZMQ_LINGER, 5000);
    set_key(socket, ZMQ_CURVE_SERVERKEY, words[3]);
    set_key(socket, ZMQ_CURVE_PUBLICKEY, words[4]);
    set_key(socket, ZMQ_CURVE_SECRETKEY, words[5]);
    check(zmq_connect(socket, endpoint()) == 0, "connect");
    return socket;
}

static void put(void *socket, const void *bytes, size_t size)
{
    check(zmq_send(socket, bytes, size, 0) >= 0, "send");
}

static void push(void)
{
    size_t size = strtoul(words[6], NULL, 10);
    char *bytes = calloc(1, size);
    void *socket = to_server();
    say("ready");
    for (long count; scanf("%ld", &count) == 1;) {
        while (count-- > 0)
            put(socket, bytes, size);
        put(socket, bytes, 1);
        say("done");
    }
}

static void come(int stays)
{
    say("ready");
    for (long count; scanf("%ld", &count) == 1;) {
        for (; count > 0; count -= AT_ONCE) {
            void *sockets[AT_ONCE];
            for (int i = 0; i < AT_ONCE; i++)
                sockets[i] = to_server();
            for (int i = 0; i < AT_ONCE; i++) {
                /* It goes out when the handshake is done. */
                put(sockets[i], "ab", 2);
                if (!stays)
                    zmq_close(sockets[i]);
            }
        }
        say("done");
    }
}

int main(int count, char **arguments)
{
    words = arguments;
    context = zmq_ctx_new();
    zmq_ctx_set(context, ZMQ_MAX_SOCKETS, 4096);
    const char *role = count > 3 ? words[1] : "";
    if (!strcmp(role, "pull"))
        pull();
    else if (!strcmp(role, "push") && count == 7)
        push();
    else if (!strcmp(role, "come") && count == 6)
        come(0);
    else if (!strcmp(role, "stay") && count == 6)
        come(1);
    else
        return 2;
    return 0;
}
