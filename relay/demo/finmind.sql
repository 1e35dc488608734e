-- A look-alike of FinMind's database, a personal-finance app that knows nothing of Rowhook. The demo writes to it, and so do
-- the tests. Every time is without zone, as the app keeps it; a row's tenant is its user_id.

CREATE TYPE recurring_cadence AS ENUM ('DAILY', 'WEEKLY', 'MONTHLY', 'YEARLY');
CREATE TYPE bill_cadence AS ENUM ('MONTHLY', 'WEEKLY', 'YEARLY', 'ONCE');

CREATE TABLE users (
    id                 serial PRIMARY KEY,
    email              varchar(255) NOT NULL UNIQUE,
    password_hash      varchar(255) NOT NULL,
    preferred_currency varchar(10) DEFAULT 'INR',
    role               varchar(20) DEFAULT 'USER',
    created_at         timestamp DEFAULT now()
);

CREATE TABLE categories (
    id         serial PRIMARY KEY,
    user_id    integer NOT NULL REFERENCES users ON DELETE CASCADE,
    name       varchar(100) NOT NULL,
    created_at timestamp DEFAULT now()
);

CREATE TABLE recurring_expenses (
    id           serial PRIMARY KEY,
    user_id      integer NOT NULL REFERENCES users ON DELETE CASCADE,
    category_id  integer REFERENCES categories ON DELETE SET NULL,
    amount       numeric(12, 2) NOT NULL,
    currency     varchar(10) NOT NULL DEFAULT 'INR',
    expense_type varchar(20) NOT NULL DEFAULT 'EXPENSE',
    notes        varchar(500) NOT NULL,
    cadence      recurring_cadence NOT NULL,
    start_date   date NOT NULL,
    end_date     date,
    active       boolean NOT NULL DEFAULT true,
    created_at   timestamp NOT NULL DEFAULT now()
);

CREATE TABLE expenses (
    id                  serial PRIMARY KEY,
    user_id             integer NOT NULL REFERENCES users ON DELETE CASCADE,
    category_id         integer REFERENCES categories ON DELETE SET NULL,
    amount              numeric(12, 2) NOT NULL,
    currency            varchar(10) NOT NULL DEFAULT 'INR',
    expense_type        varchar(20) NOT NULL DEFAULT 'EXPENSE',
    notes               varchar(500),
    spent_at            date NOT NULL DEFAULT current_date,
    created_at          timestamp NOT NULL DEFAULT now(),
    source_recurring_id integer REFERENCES recurring_expenses ON DELETE SET NULL
);

CREATE INDEX expenses_of_user_by_day ON expenses (user_id, spent_at DESC);

CREATE TABLE bills (
    id               serial PRIMARY KEY,
    user_id          integer NOT NULL REFERENCES users ON DELETE CASCADE,
    name             varchar(200) NOT NULL,
    amount           numeric(12, 2) NOT NULL,
    currency         varchar(10) NOT NULL DEFAULT 'INR',
    next_due_date    date NOT NULL,
    cadence          bill_cadence NOT NULL,
    autopay_enabled  boolean NOT NULL DEFAULT false,
    channel_whatsapp boolean NOT NULL DEFAULT false,
    channel_email    boolean NOT NULL DEFAULT true,
    active           boolean NOT NULL DEFAULT true,
    created_at       timestamp NOT NULL DEFAULT now()
);

CREATE TABLE reminders (
    id      serial PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users ON DELETE CASCADE,
    bill_id integer REFERENCES bills ON DELETE SET NULL,
    message varchar(500) NOT NULL,
    send_at timestamp NOT NULL,
    sent    boolean NOT NULL DEFAULT false,
    channel varchar(20) NOT NULL DEFAULT 'email'
);
