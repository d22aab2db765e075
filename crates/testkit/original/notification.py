"""The original's notification service, in spirit: one mail for each message, and no memory.

    python notification.py

Environment: RABBITMQ_URL, MP3_QUEUE (must exist), GMAIL_ADDRESS, GMAIL_PASSWORD. The mail goes to smtp.gmail.com:587
after STARTTLS and a login; SMTP_HOST and SMTP_PORT name another server, SMTP_TLS=no leaves both out.
"""

import json
import os
import smtplib
import sys
import traceback
from email.message import EmailMessage

import pika


def send(recipient, mp3_fid):
    mail = EmailMessage()
    mail["Subject"] = "MP3 Download"
    mail["From"] = os.environ["GMAIL_ADDRESS"]
    mail["To"] = recipient
    mail.set_content(f"mp3 file_id: {mp3_fid} is now ready!")

    host = os.environ.get("SMTP_HOST", "smtp.gmail.com")
    with smtplib.SMTP(host, int(os.environ.get("SMTP_PORT", "587"))) as session:
        if os.environ.get("SMTP_TLS", "yes") != "no":
            session.starttls()
            session.login(os.environ["GMAIL_ADDRESS"], os.environ["GMAIL_PASSWORD"])
        session.send_message(mail)


def on_mp3(channel, delivery, _properties, body):
    try:
        message = json.loads(body)
        send(message["username"], message["mp3_fid"])
    except Exception:
        traceback.print_exc()
        channel.basic_nack(delivery_tag=delivery.delivery_tag)
    else:
        channel.basic_ack(delivery_tag=delivery.delivery_tag)


if __name__ == "__main__":
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"]))
    channel = connection.channel()
    channel.basic_consume(queue=os.environ.get("MP3_QUEUE", "mp3"), on_message_callback=on_mp3)
    print("waiting for messages", flush=True)
    try:
        channel.start_consuming()
    except KeyboardInterrupt:
        sys.exit(0)
