"""Objects, wherever they lie: a folder, a bucket, a plain web server; how they are put, read again and waited for."""
