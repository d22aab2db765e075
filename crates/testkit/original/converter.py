"""The original's converter, in spirit: one message, one temporary file, one conversion at a time.

It keeps no record: what fails goes back to the queue, again and again.

    python converter.py

Environment: MONGODB_URL, RABBITMQ_URL, VIDEO_QUEUE, MP3_QUEUE (both must exist).
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback

import gridfs
import pika
from bson.objectid import ObjectId
from pymongo import MongoClient

mongodb = MongoClient(os.environ.get("MONGODB_URL", "mongodb://mongodb:27017"))
videos = gridfs.GridFS(mongodb.videos)
mp3s = gridfs.GridFS(mongodb.mp3s)


def convert(video_fid):
    """Converts a stored video and gives the id of the stored MP3."""
    with tempfile.NamedTemporaryFile() as video, tempfile.NamedTemporaryFile(suffix=".mp3") as mp3:
        video.write(videos.get(ObjectId(video_fid)).read())
        video.flush()
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", video.name, "-vn", mp3.name]
        subprocess.run(command, check=True)
        with open(mp3.name, "rb") as converted:
            return mp3s.put(converted)


def on_video(channel, delivery, _properties, body):
    try:
        message = json.loads(body)
        fid = convert(message["video_fid"])
        message["mp3_fid"] = str(fid)
        channel.basic_publish(
            exchange="",
            routing_key=os.environ.get("MP3_QUEUE", "mp3"),
            body=json.dumps(message),
            properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
        )
    except Exception:
        traceback.print_exc()
        channel.basic_nack(delivery_tag=delivery.delivery_tag)
    else:
        channel.basic_ack(delivery_tag=delivery.delivery_tag)


if __name__ == "__main__":
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"]))
    channel = connection.channel()
    channel.basic_consume(queue=os.environ.get("VIDEO_QUEUE", "video"), on_message_callback=on_video)
    print("waiting for messages", flush=True)
    try:
        channel.start_consuming()
    except KeyboardInterrupt:
        sys.exit(0)
