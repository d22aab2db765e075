"""The original's gateway, in spirit: Flask in front of auth, GridFS and RabbitMQ.

It keeps no record of an upload, knows no owners, and writes files without name or metadata.

    python gateway.py --port 8080

Environment: AUTH_SVC_ADDRESS (host:port), MONGODB_URL, RABBITMQ_URL, VIDEO_QUEUE (must exist).
"""

import argparse
import json
import os
import urllib.error
import urllib.request

import gridfs
import pika
from bson.errors import InvalidId
from bson.objectid import ObjectId
from flask import Flask, Response, request, send_file
from pymongo import MongoClient


class PlainText(Response):
    default_mimetype = "text/plain"


app = Flask(__name__)
app.response_class = PlainText

mongodb = MongoClient(os.environ.get("MONGODB_URL", "mongodb://mongodb:27017"))
videos = gridfs.GridFS(mongodb.videos)
mp3s = gridfs.GridFS(mongodb.mp3s)


def ask_auth(path):
    """Passes the caller's header on to auth; gives the status and the text of its answer."""
    header = request.headers.get("Authorization")
    if not header:
        return 401, "missing credentials"
    question = urllib.request.Request(
        f"http://{os.environ['AUTH_SVC_ADDRESS']}{path}", method="POST", headers={"Authorization": header}
    )
    try:
        with urllib.request.urlopen(question) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def caller():
    """The caller's claims, or what to answer instead."""
    status, text = ask_auth("/validate")
    if status != 200:
        return None, (text, status)
    claims = json.loads(text)
    if not claims["admin"]:
        return None, ("not authorized", 401)
    return claims, None


def publish(message):
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"]))
    try:
        connection.channel().basic_publish(
            exchange="",
            routing_key=os.environ.get("VIDEO_QUEUE", "video"),
            body=json.dumps(message),
            properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
        )
    finally:
        connection.close()


@app.post("/login")
def login():
    status, text = ask_auth("/login")
    return text, status


@app.post("/upload")
def upload():
    claims, refusal = caller()
    if refusal:
        return refusal
    files = [file for _, file in request.files.items(multi=True)]
    if len(files) != 1:
        return "exactly 1 file required", 400

    fid = videos.put(files[0])
    try:
        publish({"video_fid": str(fid), "mp3_fid": None, "username": claims["username"]})
    except pika.exceptions.AMQPError:
        app.logger.exception("cannot publish")
        videos.delete(fid)
        return "internal server error", 500
    return "success!"


@app.get("/download")
def download():
    _, refusal = caller()
    if refusal:
        return refusal
    fid = request.args.get("fid")
    if not fid:
        return "fid is required", 400
    try:
        mp3 = mp3s.get(ObjectId(fid))
    except (InvalidId, gridfs.NoFile):
        return "not found", 404
    return send_file(mp3, mimetype="audio/mpeg", download_name=f"{fid}.mp3")


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=8080)
    app.run(host="127.0.0.1", port=options.parse_args().port)
