/* Workers with a database connection each: `ledger FILE [ACCOUNTS]` makes a database of payments, and asks it for
 * the sum of each account from several processes at a time. A connection of SQLite must not cross a fork, so no
 * process opens one for another: the pool's initializer opens the connection of a worker once, and each item that
 * the worker runs uses it. */
#include <crossfork.h>

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAYMENTS = 20, BUSY_MS = 10000 };

/* ---- In a worker ----------------------------------------------------------------------------- */

static sqlite3 *database;   /* lives as long as the worker */
static sqlite3_stmt *query; /* prepared once */

XF_ENTRY(open_database)
{
    const char *path = xf_call_input(call, NULL);

    if (sqlite3_open_v2(path, &database, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(database, "SELECT sum(amount) FROM payments WHERE account = ?", -1, &query, NULL) !=
            SQLITE_OK)
        return xf_fail(call, 1, "%s: %s", path, sqlite3_errmsg(database));
    sqlite3_busy_timeout(database, BUSY_MS);
    return 0;
}

XF_ENTRY(close_database)
{
    (void)call;
    sqlite3_finalize(query);
    return sqlite3_close(database) == SQLITE_OK ? 0 : 1;
}

XF_TASK(add_up, const int *in, int64_t *out)
{
    int rc;

    sqlite3_bind_int(query, 1, *in);
    rc = sqlite3_step(query);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(query, 0);
    sqlite3_reset(query); /* before anything can fail: the next item finds it as new */
    return rc == SQLITE_ROW ? 0 : xf_fail(call, 1, "account %d: %s", *in, sqlite3_errmsg(database));
}

/* ---- In the program -------------------------------------------------------------------------- */

/* Closes its connection again before there is a child. */
static int make_database(const char *path, int accounts)
{
    char row[100], *error = NULL;
    sqlite3 *made = NULL;
    int rc = sqlite3_open(path, &made);

    if (rc == SQLITE_OK)
        rc = sqlite3_exec(made,
                          "DROP TABLE IF EXISTS payments; CREATE TABLE payments (account INTEGER, amount INTEGER);"
                          "CREATE INDEX by_account ON payments (account); BEGIN",
                          NULL, NULL, &error);
    for (int i = 0; i < accounts * PAYMENTS && rc == SQLITE_OK; i++) {
        snprintf(row, sizeof row, "INSERT INTO payments VALUES (%d, %d)", i % accounts, i / accounts);
        rc = sqlite3_exec(made, row, NULL, NULL, &error);
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(made, "COMMIT", NULL, NULL, &error);
    if (rc != SQLITE_OK)
        fprintf(stderr, "ledger: %s: %s\n", path, error ? error : sqlite3_errstr(rc));
    sqlite3_free(error);
    sqlite3_close(made);
    return rc == SQLITE_OK ? 0 : XF_EIO;
}

static int ask_all(xf_pool *pool, int accounts)
{
    int *numbers = calloc((size_t)accounts + 1, sizeof *numbers);
    int64_t *sums = calloc((size_t)accounts + 1, sizeof *sums), total = 0;
    xf_future *future = NULL;
    xf_map map = {.task = &add_up, .in = numbers, .out = sums, .count = (size_t)accounts, .results = &future};
    int rc = XF_ENOMEM;

    for (int i = 0; i < accounts && numbers; i++)
        numbers[i] = i;
    if (numbers && sums)
        rc = xf_pool_map(pool, &map);
    if (rc == XF_EFAILED && future)
        xf_report_print(xf_future_report(future, xf_future_failure(future, 0)), stderr);
    for (int i = 0; i < accounts && rc == 0; i++)
        total += sums[i];
    if (rc == 0)
        printf("%d accounts, %" PRId64 " in all\n", accounts, total);
    xf_future_free(future);
    free(numbers);
    free(sums);
    return rc;
}

int main(int argc, char **argv)
{
    xf_pool_options options = {.initializer = &open_database, .finalizer = &close_database};
    xf_pool *pool = NULL;
    int accounts, rc;

    xf_main(argc, argv);
    accounts = argc > 2 ? atoi(argv[2]) : 200;
    if (argc < 2 || accounts < 1) {
        fprintf(stderr, "usage: ledger FILE [ACCOUNTS]\n");
        return 2;
    }
    options.initializer_input = argv[1];
    options.initializer_size = strlen(argv[1]) + 1;
    rc = make_database(argv[1], accounts);
    if (rc == 0)
        rc = xf_pool_create(&pool, &options);
    if (rc == 0)
        rc = ask_all(pool, accounts);
    if (rc < 0)
        fprintf(stderr, "ledger: %s (%s)\n", xf_strerror(rc), xf_error_detail());
    xf_pool_free(pool);
    return rc < 0;
}
