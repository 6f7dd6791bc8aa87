/* Asks 127.0.0.11 for one name by UDP, with so many questions under way, and prints: answers, seconds, lost, and the
   latencies' median and 99th percentile in microseconds.   names_client NAME SECONDS UNDER_WAY */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define MOST 20000000

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int count, char **words) {
    if (count != 4) return 2;
    int under_way = atoi(words[3]);
    double seconds = atof(words[2]), sent[65536];
    float *latencies = malloc(MOST * sizeof(float));
    unsigned char question[512] = {0, 0, 1, 0, 0, 1}, reply[4096];
    int length = 12;
    for (char *label = strtok(words[1], "."); label; label = strtok(NULL, ".")) {
        question[length++] = strlen(label);
        memcpy(question + length, label, strlen(label));
        length += strlen(label);
    }
    memcpy(question + length, "\0\0\1\0\1", 5);
    length += 5;

    int handle = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(53)};
    inet_pton(AF_INET, "127.0.0.11", &server.sin_addr);
    if (connect(handle, (struct sockaddr *)&server, sizeof server)) return 1;

    long answers = 0, lost = 0;
    double start = now(), end = start + seconds;
    for (int id = 0; id < under_way; id++) {
        question[0] = id >> 8, question[1] = id;
        sent[id] = now();
        send(handle, question, length, 0);
    }
    while (now() < end) {
        struct pollfd waiting = {.fd = handle, .events = POLLIN};
        int id;
        if (poll(&waiting, 1, 1000) == 0) { /* all that is under way was lost */
            lost += under_way;
            for (id = 0; id < under_way; id++) {
                question[0] = id >> 8, question[1] = id;
                sent[id] = now();
                send(handle, question, length, 0);
            }
            continue;
        }
        if (recv(handle, reply, sizeof reply, 0) < 12 || (reply[3] & 15) || !(reply[6] | reply[7])) return 3;
        id = reply[0] << 8 | reply[1];
        if (answers < MOST) latencies[answers++] = (now() - sent[id]) * 1e6;
        question[0] = reply[0], question[1] = reply[1];
        sent[id] = now();
        send(handle, question, length, 0);
    }
    double took = now() - start;
    qsort(latencies, answers, sizeof(float), by_size);
    printf("%ld %f %ld %f %f\n", answers, took, lost, latencies[answers / 2], latencies[answers * 99 / 100]);
}
