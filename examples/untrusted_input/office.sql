-- What is nobody else's business.

CREATE TABLE customer (
    id    INTEGER PRIMARY KEY,
    name  TEXT NOT NULL,
    email TEXT NOT NULL
);

INSERT INTO customer (name, email) VALUES
    ('Mona Vale', 'mona.vale@example.com'),
    ('Omar Reyes', 'omar.reyes@example.com'),
    ('Ines Roth', 'ines.roth@example.com');
