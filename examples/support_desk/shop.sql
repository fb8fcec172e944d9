-- The shop: what it knows, and what the demo starts with. Amounts are cents of a euro.

CREATE TABLE customer (
    id    TEXT PRIMARY KEY,
    name  TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    since TEXT NOT NULL
);

CREATE TABLE purchase (
    id          TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL REFERENCES customer (id),
    item        TEXT NOT NULL,
    price_cents INTEGER NOT NULL CHECK (price_cents > 0),
    ordered_on  TEXT NOT NULL
);

CREATE TABLE payment (
    id           TEXT PRIMARY KEY,
    purchase_id  TEXT NOT NULL REFERENCES purchase (id),
    amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),
    paid_on      TEXT NOT NULL
);

CREATE TABLE refund (
    id           INTEGER PRIMARY KEY,
    key          TEXT NOT NULL UNIQUE, -- of the call that made it: a repeated call finds it here
    payment_id   TEXT NOT NULL REFERENCES payment (id),
    amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),
    reason       TEXT NOT NULL
);

CREATE TABLE draft (
    id          INTEGER PRIMARY KEY,
    key         TEXT NOT NULL UNIQUE,
    customer_id TEXT NOT NULL REFERENCES customer (id),
    subject     TEXT NOT NULL,
    body        TEXT NOT NULL
);

CREATE TABLE article (
    id    INTEGER PRIMARY KEY,
    title TEXT NOT NULL,
    text  TEXT NOT NULL
);

INSERT INTO customer VALUES
    ('C1001', 'Mona Vale', 'mona.vale@example.com', '2024-03-02'),
    ('C1002', 'Omar Reyes', 'omar.reyes@example.com', '2025-08-19');

INSERT INTO purchase VALUES
    ('O5001', 'C1001', 'Studio headphones', 24900, '2026-11-18'),
    ('O4120', 'C1001', 'Ear pads', 1900, '2025-06-30'),
    ('O4777', 'C1002', 'Travel headphones', 12900, '2026-02-11');

INSERT INTO payment VALUES
    ('P9001', 'O5001', 24900, '2026-11-18'),
    ('P9002', 'O5001', 24900, '2026-11-18'),
    ('P8120', 'O4120', 1900, '2025-06-30'),
    ('P8777', 'O4777', 12900, '2026-02-11');

INSERT INTO article (title, text) VALUES
    ('Charged twice', 'When one order has two payments of the same amount on the same day, the second is a duplicate. Refund the later payment in full; the bank takes three to five days.'),
    ('Returning a product', 'Products can be returned within 30 days. The refund follows when the parcel has arrived.'),
    ('Delivery times', 'Orders leave the warehouse within two days.');
