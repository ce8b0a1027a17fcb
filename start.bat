@echo off
rem Starts the server on a double click; the window stays open if that fails.
cd /d "%~dp0"
where py >nul 2>nul
if not errorlevel 1 (
    py -3 server.py %*
    goto ended
)
where python >nul 2>nul
if not errorlevel 1 (
    python server.py %*
    goto ended
)
echo stable-core needs Python 3.10 or newer. Install it from https://www.python.org/downloads/ and try again.
pause
exit /b 1
:ended
if errorlevel 1 pause
