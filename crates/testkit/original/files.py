"""Stores and reads files as any program with PyMongo does.

    python files.py put BUCKET < FILE      prints the fid
    python files.py get BUCKET FID > FILE

BUCKET is `videos` or `mp3s`. Environment: MONGODB_URL.
"""

import os
import shutil
import sys

import gridfs
from bson.objectid import ObjectId
from pymongo import MongoClient


def main(action, bucket, *fid):
    files = gridfs.GridFS(MongoClient(os.environ["MONGODB_URL"])[bucket])
    if action == "put":
        print(files.put(sys.stdin.buffer))
    elif action == "get":
        shutil.copyfileobj(files.get(ObjectId(fid[0])), sys.stdout.buffer)
    else:
        sys.exit(f"no such action: {action}")


if __name__ == "__main__":
    main(*sys.argv[1:])
