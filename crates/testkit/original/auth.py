"""The original's auth service, in spirit: Flask, one MySQL query, passwords compared as they are stored.

    python auth.py --port 5000

Environment: MYSQL_HOST MYSQL_PORT MYSQL_USER MYSQL_PASSWORD MYSQL_DB JWT_SECRET.
"""

import argparse
import os
from datetime import datetime, timedelta, timezone

import jwt
import pymysql
from flask import Flask, Response, jsonify, request


class PlainText(Response):
    default_mimetype = "text/plain"


app = Flask(__name__)
app.response_class = PlainText


def stored_account(email):
    connection = pymysql.connect(
        host=os.environ["MYSQL_HOST"],
        port=int(os.environ.get("MYSQL_PORT", "3306")),
        user=os.environ["MYSQL_USER"],
        password=os.environ.get("MYSQL_PASSWORD", ""),
        database=os.environ["MYSQL_DB"],
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT email, password FROM user WHERE email = %s", (email,))
        return cursor.fetchone()


@app.post("/login")
def login():
    given = request.authorization
    if given is None or given.type != "basic":
        return "missing credentials", 401
    account = stored_account(given.username)
    if account is None or account != (given.username, given.password):
        return "invalid credentials", 401

    now = datetime.now(tz=timezone.utc)
    claims = {"username": given.username, "iat": now, "exp": now + timedelta(days=1), "admin": True}
    return jwt.encode(claims, os.environ["JWT_SECRET"], algorithm="HS256")


@app.post("/validate")
def validate():
    header = request.headers.get("Authorization")
    if not header:
        return "missing credentials", 401
    try:
        token = header.removeprefix("Bearer ")
        return jsonify(jwt.decode(token, os.environ["JWT_SECRET"], algorithms=["HS256"]))
    except jwt.InvalidTokenError:
        return "not authorized", 403


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=5000)
    app.run(host="127.0.0.1", port=options.parse_args().port)
