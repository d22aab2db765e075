-- The account database of the auth service, for MySQL 8.4 and MariaDB:  mysql -uroot < init.sql
--
-- Safe to run again: what exists is left as it is. It makes no account and holds no secret. The service's own database
-- account needs SELECT, INSERT, UPDATE and DELETE on this table, and CREATE, ALTER and INDEX where the service is to
-- make the table or to extend an older one. People who may log in are added with `auth user add ADDRESS`.

CREATE DATABASE IF NOT EXISTS auth CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

USE auth;

-- email_key is the address with A to Z in lower case: what comparison and uniqueness go by, in every collation.
CREATE TABLE IF NOT EXISTS user (
    id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    email VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
    password VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    disabled_at BIGINT NULL DEFAULT NULL COMMENT 'seconds since 1970',
    tokens_valid_from BIGINT NULL DEFAULT NULL COMMENT 'seconds since 1970',
    email_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin GENERATED ALWAYS AS (
        REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(
        REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(email
        ,'A','a'),'B','b'),'C','c'),'D','d'),'E','e'),'F','f'),'G','g'),'H','h'),'I','i')
        ,'J','j'),'K','k'),'L','l'),'M','m'),'N','n'),'O','o'),'P','p'),'Q','q'),'R','r')
        ,'S','s'),'T','t'),'U','u'),'V','v'),'W','w'),'X','x'),'Y','y'),'Z','z')
    ) STORED,
    UNIQUE KEY email_key (email_key)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
